import Formats
import Kernels
import Pleat
import SystemPackage
import TestSupport
import Testing

/// Parts whose bytes are copied from file to file.
@Suite struct PartCopyTests {
  let folder: Folder
  private var scratch: Scratch { folder.scratch }

  init() throws { folder = try Folder() }

  /// Parts of several blocks, of odd lengths, and of length 0.
  private func source() throws -> Model {
    var random = Seeded(921)
    return try Models.make(
      [
        Toy("a.weight", .f32, [400, 1024], seed: 922), Toy("norm.weight", .bf16, [9], seed: 924),
        Toy("b.weight", .f16, [40, 96], seed: 923), Toy("empty", .f16, [0, 4], []),
        Toy("noise", .u8, [1_200_001], bytes: random.bytes(1_200_001)),
      ], in: scratch, metadata: [("general.architecture", "llama")], as: "source.safetensors")
  }

  private func quantized(compresses: Bool = false) throws -> Model {
    try folder.quantize(
      try source(), Recipe(), to: compresses ? "z.pleat" : "raw.pleat", compresses: compresses)
  }

  private func plan(
    _ model: Model, to name: String, compresses: Bool = false
  ) throws(ModelError) -> Plan {
    try Plan.converting(
      model,
      to: Destination(
        path: scratch.path(name), format: try Formats.named(Files.suffix(of: name)),
        compresses: compresses))
  }

  private func copiesAll(_ plan: Plan) -> Bool {
    plan.jobs.map(\.copySources).joined().allSatisfy { $0 != nil }
  }

  private func copiesNone(_ plan: Plan) -> Bool {
    plan.jobs.map(\.copySources).joined().allSatisfy { $0 == nil }
  }

  @Test(
    "a raw copy has the same bytes as a copy by way of a compressed file", arguments: [1, 2, 5])
  func copies(workerCount: Int) throws {
    let raw = try quantized()
    #expect(copiesAll(try plan(raw, to: "x.pleat")))
    // Both copies take two conversions. Compressed parts must be read, so the second copy goes
    // through memory.
    let once = try folder.convert(raw, to: "1.pleat", workerCount: workerCount)
    try folder.convert(once, to: "2.pleat", workerCount: workerCount)
    let compressed = try folder.convert(
      raw, to: "3.pleat", compresses: true, workerCount: workerCount)
    #expect(compressed.byteCount < raw.byteCount)
    try folder.convert(compressed, to: "4.pleat", workerCount: workerCount)
    let isSame = try scratch.bytes(of: "2.pleat") == scratch.bytes(of: "4.pleat")
    #expect(isSame)
  }

  @Test("the checksums in a copy match its bytes") func checksums() throws {
    let raw = try quantized()
    let copy = try folder.convert(raw, to: "copy.pleat")
    #expect(try copy.allParts() == raw.allParts())
    for index in copy.reader.stored.indices {
      let location = try #require(copy.reader.location(of: index))
      let bytes = try location.file.bytes(
        at: location.offset, count: copy.reader.stored[index].byteCount)
      #expect(location.checksum == CRC32C(of: bytes.span))
    }
    let found = try Verification(of: copy, against: raw, tolerance: 0)
    #expect(found.holds)
    #expect(found.checksumCount == (try Verification(of: raw).checksumCount))
  }

  @Test("a fold that copies codes gives the same bytes as one that reads them", arguments: [1, 3])
  func folds(workerCount: Int) throws {
    let applied = try folder.applied(
      [ToyFactors("a", 400, 32, seed: 925), ToyFactors("b", 40, 3, seed: 926)], pooling: .sum)
    var files: [[UInt8]] = []
    for compresses in [false, true] {
      let base = try quantized(compresses: compresses)
      let result = try folder.fold([applied], into: base, to: "out.pleat", workerCount: workerCount)
      let sources = try #require(
        result.plan.jobs.firstIndex { $0.source.name == "a.weight" }.map {
          result.plan.jobs[$0].copySources
        })
      // Codes, scales and biases: only the biases change.
      #expect(sources.map { $0 != nil } == [!compresses, !compresses, false])
      #expect(try Verification(of: result.model, against: base, adapters: [applied]).holds)
      files.append(try scratch.bytes(of: "out.pleat"))
      try scratch.remove("out.pleat")
    }
    let isSame = files[0] == files[1]
    #expect(isSame)
  }

  @Test(
    "checkpoints of one file or of shards are copied byte for byte", arguments: [nil, 1_700_000])
  func safetensors(shardByteCount: Int?) throws {
    let source = try source()
    let name = shardByteCount == nil ? "1.safetensors" : "one"
    let first = try folder.convert(source, to: name, shardByteCount: shardByteCount)
    let other = shardByteCount == nil ? "2.safetensors" : "two"
    let second = try folder.convert(first, to: other, shardByteCount: shardByteCount)
    #expect(first.fileCount == (shardByteCount == nil ? 1 : 2))
    #expect(try second.allParts() == source.allParts())
    for (left, right) in zip(first.reader.files, second.reader.files) {
      let isSame = try Files.bytes(of: left.path.string) == Files.bytes(of: right.path.string)
      #expect(isSame)
    }
    #expect(copiesAll(try plan(source, to: "x.safetensors")))
  }

  @Test("gguf blocks are copied byte for byte, in one file or split", arguments: [nil, 200_000])
  func gguf(shardByteCount: Int?) throws {
    var random = Seeded(927)
    let blocks = (0..<60000).flatMap { _ in
      Numbers.f16([0.5, 0.25]) + random.bytes(16)
    }
    let superblocks = (0..<3).flatMap { _ in Numbers.f16([0.5, 0.25]) + random.bytes(140) }
    let tensors: [(Toy, typeNumber: UInt32)] = [
      (Toy("a.weight", .u8, [60, 32000], bytes: blocks), 3),
      (Toy("k.weight", .u8, [3, 256], bytes: superblocks), 12),
      (Toy("norm.weight", .f32, [9], seed: 928), 0),
      (Toy("b.weight", .u8, [2, 64], bytes: Array(blocks[0..<80])), 3),
    ]
    let bytes = ToyFiles.gguf(tensors)
    let source = try Model.open(try scratch.write(bytes, as: "source.gguf"))
    #expect(copiesAll(try plan(source, to: "x.gguf")))
    let first = try folder.convert(source, to: "1.gguf", shardByteCount: shardByteCount)
    let second = try folder.convert(first, to: "2.gguf", shardByteCount: shardByteCount)
    #expect(first.fileCount == (shardByteCount == nil ? 1 : 2))
    #expect(try second.allParts() == source.allParts())
    for (left, right) in zip(first.reader.files, second.reader.files) {
      let isSame = try Files.bytes(of: left.path.string) == Files.bytes(of: right.path.string)
      #expect(isSame)
    }
    guard shardByteCount == nil else { return }
    let isSame = try scratch.bytes(of: "1.gguf") == bytes
    #expect(isSame)
  }

  @Test("a big-endian file is byte-swapped; its little-endian copy is copied byte for byte")
  func bigEndian() throws {
    let big = try Model.open(Fixtures.path("golden/gguf/big-endian.gguf"))
    #expect(copiesNone(try plan(big, to: "x.gguf")))
    let little = try folder.convert(big, to: "1.gguf")
    #expect(copiesAll(try plan(little, to: "x.gguf")))
    let again = try folder.convert(little, to: "2.gguf")
    #expect(try again.allParts() == big.allParts())
    let isSame = try scratch.bytes(of: "1.gguf") == scratch.bytes(of: "2.gguf")
    #expect(isSame)
  }

  @Test("parts that must be read or transformed are not copied from file to file")
  func notCopied() throws {
    let (raw, compressed) = (try quantized(), try quantized(compresses: true))
    // Random bytes do not shrink. They are stored raw in a compressed file and can be copied.
    let noise = try #require(compressed.index(of: "noise"))
    let plan = try plan(compressed, to: "x.pleat")
    for (index, sources) in plan.jobs.map(\.copySources).enumerated()
    where index != noise {
      let parts = compressed.gathered[index].parts
      for (part, source) in zip(parts, sources) {
        let isRaw = compressed.reader.location(of: part) != nil
        #expect((source != nil) == isRaw)
      }
    }
    #expect(plan.jobs[noise].copySources.allSatisfy { $0 != nil })
    #expect(plan.jobs[0].copySources[0] == nil)
    // Compression must read the bytes, and so must checksums that the source does not store.
    #expect(copiesNone(try self.plan(raw, to: "x.pleat", compresses: true)))
    #expect(copiesNone(try self.plan(try source(), to: "x.pleat")))
    let decoding = try Plan.converting(
      raw, decodingTo: .f32,
      to: Destination(path: scratch.path("x.safetensors"), format: .safetensors))
    let index = try #require(raw.index(of: "a.weight"))
    #expect(decoding.jobs[index].copySources.allSatisfy { $0 == nil })
  }

  @Test("a copy of a damaged source fails and leaves no files") func damage() throws {
    let raw = try quantized()
    let bytes = try scratch.bytes(of: "raw.pleat")
    let codes = try #require(raw.index(of: "a.weight").map { raw.gathered[$0].parts[0] })
    let location = try #require(raw.reader.location(of: codes))
    let file = try DamagedFile(bytes, as: "damaged.pleat", in: scratch)
    try file.withFlip(of: 0x10, at: location.offset + 100_000) {
      let damaged = try Model.open(file.path)
      #expect(try Verification(of: damaged).faults.map(\.tensor) == ["a.weight"])
      let plan = try plan(damaged, to: "copy.pleat")
      let error = Laws.error { () throws(ModelError) in try Run(plan)() }
      #expect(error?.kind == .malformed)
      #expect(error?.tensor == "a.weight")
      #expect(try !scratch.names().contains { $0.contains("copy") })
    }
  }

  @Test(
    "a source that is truncated after opening is an I/O error and leaves no files",
    arguments: ["pleat", "safetensors", "gguf"], [1, 3])
  func truncation(format: String, workerCount: Int) throws {
    let name = "whole.\(format)"
    if format == "gguf" {
      let tensors = [
        Toy("a.weight", .f32, [400, 1024], seed: 922), Toy("b.weight", .f16, [40, 96], seed: 923),
      ]
      try scratch.write(
        ToyFiles.gguf([(tensors[0], 0), (tensors[1], typeNumber: 1)]), as: name)
    } else {
      try folder.convert(try format == "pleat" ? quantized() : source(), to: name)
    }
    let bytes = try scratch.bytes(of: name)
    let file = try DamagedFile(bytes, as: "truncated.\(format)", in: scratch)
    for length in [bytes.count / 2, 4096] {
      try scratch.write(bytes, as: "truncated.\(format)")
      let plan = try plan(try Model.open(file.path), to: "out.\(format)")
      #expect(copiesAll(plan))
      let before = try scratch.names()
      try file.truncate(to: length)
      let error = Laws.error { () throws(ModelError) in try Run(plan, workerCount: workerCount)() }
      #expect(error?.kind == .io)
      #expect(error?.file == file.path)
      #expect(try scratch.names() == before)
    }
  }
}
