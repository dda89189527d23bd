import Bytes
import Formats
import TensorModel
import TestSupport
import Testing

/// Damaged importance matrices are refused, with what is wrong and where.
@Suite struct ImportanceRefusalTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func error(of bytes: [UInt8]) throws -> ModelError? {
    let path = try scratch.write(bytes, as: "m")
    return Laws.error { () throws(ModelError) in try ImportanceMatrix.read(path) }
  }

  private static let name = "blk.0.ffn_down.weight"

  private static func pair(
    _ sums: Toy, _ counts: Toy, types: [UInt32] = [0, 0]
  ) -> [(Toy, typeNumber: UInt32)] { [(sums, types[0]), (counts, types[1])] }

  @Test("keys that llama-quantize needs are missing or wrong") func keys() throws {
    for index in 1...3 {
      var keys = ToyImportance.keys()
      let key = keys.remove(at: index)
      let missing = try error(of: ToyImportance.gguf(ImportanceTests.entries, keys))
      #expect(missing?.kind == .malformed && missing?.tensor == key.name)
      #expect(missing?.found == "nothing" && missing?.hint?.contains("llama-quantize") == true)
      keys.append((key.name, 6, Numbers.f32([1])))
      let wrong = try error(of: ToyImportance.gguf(ImportanceTests.entries, keys))
      #expect(wrong?.kind == .malformed && wrong?.tensor == key.name && wrong?.found == "f32")
    }
    let zero = try error(
      of: ToyImportance.gguf(ImportanceTests.entries, ToyImportance.keys(chunkSize: 0)))
    #expect(zero?.tensor == "imatrix.chunk_size" && zero?.found == "0 as u32")
  }

  @Test("tensors that are no pair of sums and counts are refused") func pairs() throws {
    let sums = Toy(Self.name + ".in_sum2", .f32, [2, 3], [1, 2, 3, 4, 5, 6])
    let counts = Toy(Self.name + ".counts", .f32, [2, 1], [1, 2])
    let cases: [([(Toy, typeNumber: UInt32)], String)] = [
      ([(sums, 0)], "the other half"), ([(counts, 0)], "the other half"),
      (
        Self.pair(Toy(sums.name, .f16, [2], [1, 2]), counts, types: [1, 0]), "another type"
      ),
      (
        Self.pair(sums, Toy(counts.name, .f16, [2, 1], [1, 2]), types: [0, 1]), "another type"
      ),
      (Self.pair(sums, Toy(counts.name, .f32, [3, 1], [1, 2, 3])), "do not fit"),
      (Self.pair(sums, Toy(counts.name, .f32, [4, 1], [1, 2, 3, 4])), "do not fit"),
      (Self.pair(sums, Toy(counts.name, .f32, [0], [])), "do not fit"),
      (Self.pair(Toy(sums.name, .f32, [0], []), counts), "no numbers"),
      (
        Self.pair(Toy(".in_sum2", .f32, [1], [1]), Toy(".counts", .f32, [1], [1])), "no weight"
      ),
    ]
    for (tensors, fragment) in cases {
      let error = try error(of: ToyImportance.gguf(tensors: tensors))
      #expect(error?.kind == .malformed && error?.what.contains(fragment) == true, "\(fragment)")
      #expect(error?.tensor != nil && error?.file == scratch.path("m"))
    }
    let model = try error(of: ToyImportance.gguf(tensors: [(Toy("a", .f32, [1], [1]), 0)]))
    #expect(model?.kind == .unsupported && model?.found == "tensors such as a")
    #expect(try error(of: ToyImportance.gguf(tensors: []))?.kind == .unsupported)
  }

  @Test("numbers that cannot be are refused, and listed when the file is opened")
  func numbers() throws {
    for bad in [-1, .nan, .infinity, -.infinity] as [Float] {
      let expert = ToyImportance(Self.name, [1, 2, 3, bad, 5, 6], [3, 0, 5])
      let inSums = try error(of: ToyImportance.gguf([expert]))
      #expect(inSums?.kind == .malformed && inSums?.tensor == Self.name + ".in_sum2")
      #expect(inSums?.found == "\(bad), matrix 1, column 1" && inSums?.offset != nil)
      let counts = ToyImportance(Self.name, [1, 2, 3, 4], [1, bad])
      let inCounts = try error(of: ToyImportance.gguf([counts]))
      #expect(inCounts?.tensor == Self.name + ".counts" && inCounts?.found == "\(bad), matrix 1")
      let bytes = ToyImportance.data([ToyImportance(Self.name, [1, bad], [2])])
      let inData = try error(of: bytes)
      #expect(inData?.tensor == Self.name && inData?.found == "\(bad), column 1")
      let offset = 4 + 4 + Self.name.utf8.count + 8 + 4
      #expect(inData?.offset == offset)
      let opened = try ImportanceMatrix.open(try scratch.write(bytes, as: "m"))
      #expect(opened.faults == [inData])
    }
    let many = try error(of: ToyImportance.gguf([ToyImportance(Self.name, [1], [0x1p54])]))
    #expect(many?.kind == .malformed && many?.what == "a count is too large")
  }

  @Test("counts and lengths of a .dat file that do not fit it are refused") func counts() throws {
    let whole = ToyImportance.data([ToyImportance(Self.name, [1, 2], [2])])
    let fields = [
      ("entries", 0), ("bytes of a name", 4), ("chunks", 8 + Self.name.utf8.count),
      ("values", 12 + Self.name.utf8.count), ("chunks", whole.count - 13),
      ("bytes of the dataset", whole.count - 9),
    ]
    for (what, offset) in fields {
      for value in [-1, .min, .max, 0] as [Int32] {
        let isCount = what == "chunks"
        if value == 0 && (isCount || offset == whole.count - 9) || value == .max && isCount {
          continue
        }
        var bytes = whole
        bytes.replaceSubrange(offset..<offset + 4, with: Numbers.little(value))
        let found = try error(of: bytes)
        let isOther = found?.kind == .unsupported && offset < 8
        #expect(isOther || found?.kind == .malformed, "\(what) \(value)")
        if !isOther {
          #expect(found?.what.contains(what) == true && found?.offset == offset, "\(what) \(value)")
          #expect(found?.found == "\(value)")
        }
      }
    }
    let extra = try error(of: whole + [0])
    #expect(extra?.what == "there are extra bytes after the dataset")
    var tab = ToyImportance.data([ToyImportance("a", [1], [1]), ToyImportance("b", [1], [1])])
    tab[tab.count - 4 - 4 - 5 - 4 - 8 - 1] = 9
    #expect(try error(of: tab)?.what == "not the name of a weight")
    let twice = ToyImportance(Self.name, [1], [1])
    #expect(try error(of: ToyImportance.data([twice, twice]))?.what.contains("twice") == true)
  }

  @Test("other files are no importance matrices") func others() throws {
    let files: [([UInt8], ModelError.Kind)] = [
      ([], .malformed), (Array("a text, no matrix".utf8), .unsupported),
      (ToyFiles.safetensors([Toy("a", .f32, [1], [1])]), .unsupported),
      (Array("GGUF".utf8), .malformed), ([0x80, 2, 0x8A], .unsupported),
    ]
    for (bytes, kind) in files { #expect(try error(of: bytes)?.kind == kind) }
    let missing = Laws.error { () throws(ModelError) in
      try ImportanceMatrix.read(scratch.path("absent"))
    }
    #expect(missing?.kind == .io)
  }

  @Test("a file that is truncated anywhere is refused") func truncation() throws {
    let gguf = ToyImportance.gguf(ImportanceTests.entries)
    let data = ToyImportance.data(ImportanceTests.averages)
    let oldest = ToyImportance.data(ImportanceTests.averages, isOldest: true)
    // The padding of the last tensor may be missing, and the oldest files have no ending.
    let last = 4 * ImportanceTests.entries[1].counts.count
    for (bytes, whole) in [(gguf, gguf.count - 32 + last), (data, oldest.count)] {
      let file = try DamagedFile(bytes, as: "truncated", in: scratch)
      try file.forEachTruncation { length in
        let error = Laws.error { () throws(ModelError) in try ImportanceMatrix.read(file.path) }
        guard length < whole || length > whole && bytes == data else {
          #expect(error == nil, "\(length) bytes")
          return
        }
        let isExpected = error?.kind == .malformed || error?.kind == .unsupported && length < 64
        #expect(isExpected, "\(length) bytes")
      }
    }
  }

  @Test("no flipped bit is fatal, and none gives impossible numbers") func flips() throws {
    for bytes in [
      ToyImportance.gguf(ImportanceTests.entries), ToyImportance.data(ImportanceTests.averages),
    ] {
      let file = try DamagedFile(bytes, as: "flipped", in: scratch)
      for mask in [1, 0x80] as [UInt8] {
        try file.forEachFlip(of: mask, in: bytes.indices) { offset in
          do throws(ModelError) {
            let matrix = try ImportanceMatrix.read(file.path)
            for entry in matrix.entries {
              let isPossible = try entry.weights().allSatisfy { $0 >= 0 && $0.isFinite }
              #expect(isPossible, "byte \(offset)")
            }
          } catch {
            let kinds: [ModelError.Kind] = [.malformed, .unsupported, .limit, .mismatch, .io]
            #expect(kinds.contains(error.kind) && !error.what.isEmpty, "byte \(offset)")
          }
        }
      }
    }
  }
}
