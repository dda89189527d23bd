import Bytes
import Formats
import TensorModel
import TestSupport
import Testing

/// Importance matrices of llama-imatrix: reading, writing and adding.
@Suite struct ImportanceTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// A dense weight, and two experts of three, of which the second saw no token.
  static let entries = [
    ToyImportance("blk.0.ffn_down.weight", [4, 9], [8]),
    ToyImportance("blk.0.ffn_up_exps.weight", [1, 2, 0, 0, 5, 6], [3, 0, 5]),
  ]
  /// The same in chunks of four tokens, as llama-imatrix writes it.
  static let averages = [
    ToyImportance("blk.0.ffn_down.weight", [1, 2.25], [2]),
    ToyImportance(
      "blk.0.ffn_up_exps.weight", [1 / Float(3) * 2, 2 / Float(3) * 2, 2, 2, 2, 2.4], [2]),
  ]

  private func read(_ bytes: [UInt8]) throws -> ImportanceMatrix {
    // A matrix reads its file later, so each has its own.
    let name = "\(try scratch.names().count)"
    return try ImportanceMatrix.read(try scratch.write(bytes, as: name))
  }

  private func bytes(
    of matrix: ImportanceMatrix, _ form: ImportanceMatrix.Form
  ) throws -> [UInt8] {
    var bytes: [UInt8] = []
    try matrix.forEachPiece(as: form) { (piece) throws(ModelError) in bytes += piece }
    #expect(try matrix.byteCount(as: form) == bytes.count)
    return bytes
  }

  @Test("a GGUF file has sums and counts; what no token reached counts 1") func gguf() throws {
    let matrix = try read(ToyImportance.gguf(Self.entries))
    #expect(matrix.form == .gguf && matrix.chunkCount == 2 && matrix.chunkSize == 4)
    #expect(matrix.datasets == ["a.txt"] && matrix.valueCount == 8)
    #expect(matrix.entries.map(\.name) == Self.entries.map(\.name))
    #expect(try matrix.entries[0].weights() == [0.5, 1.125])
    #expect(matrix.entries[1].counts == [3, 0, 5] && matrix.entries[1].columnCount == 2)
    #expect(try matrix.entries[1].weights() == [1 / Float(3), 2 / Float(3), 1, 1, 1, 1.2])
    #expect(try matrix.entries[1].weights(in: 2..<5) == [1, 1, 1])
    #expect(matrix.entries[1].unseen == [1] && !matrix.entries[1].isUnseen)
    #expect(matrix.index(of: "blk.0.ffn_up_exps.weight") == 1)
    #expect(matrix.index(of: "blk.0.ffn_up.weight") == nil && matrix.index(of: "z") == nil)
  }

  @Test("a .dat file has means times chunks; the oldest ones end after the entries")
  func data() throws {
    let matrix = try read(ToyImportance.data(Self.averages, chunkCount: 7, dataset: "b"))
    #expect(matrix.form == .dat && matrix.chunkCount == 7 && matrix.chunkSize == nil)
    #expect(matrix.datasets == ["b"])
    #expect(try matrix.entries[0].weights() == [0.5, 1.125])
    #expect(matrix.entries[1].counts == [2])
    let oldest = try read(ToyImportance.data(Self.averages, isOldest: true))
    #expect(oldest.chunkCount == 2 && oldest.datasets == [])
    #expect(try oldest.entries.map { try $0.sums() } == Self.averages.map(\.sums))
    // Without a chunk the values are the importance.
    let zero = try read(ToyImportance.data([ToyImportance("blk.0.x.weight", [3], [0])]))
    #expect(try zero.entries[0].weights() == [3])
  }

  @Test("entries are sorted, and other tensors are ignored") func order() throws {
    let tensors = ToyImportance.tensors(Self.entries.reversed())
    let other = (Toy("other", .f16, [2], [1, 2]), typeNumber: UInt32(1))
    let matrix = try read(ToyImportance.gguf(tensors: tensors + [other]))
    #expect(matrix.entries.map(\.name) == Self.entries.map(\.name))
    #expect(try read(ToyImportance.data(Self.averages.reversed())).entries.count == 2)
  }

  @Test("one count stands for all matrices of a stack") func oneCount() throws {
    let pair: [(Toy, typeNumber: UInt32)] = [
      (Toy("blk.0.attn_k_b.weight.in_sum2", .f32, [2, 3], [1, 2, 3, 4, 5, 6]), 0),
      (Toy("blk.0.attn_k_b.weight.counts", .f32, [1], [2]), 0),
    ]
    let matrix = try read(ToyImportance.gguf(tensors: pair))
    #expect(try matrix.entries[0].weights() == [0.5, 1, 1.5, 2, 2.5, 3])
  }

  // MARK: - Writing

  @Test("both forms are written as llama-imatrix writes them") func writing() throws {
    let (gguf, data) = (ToyImportance.gguf(Self.entries), ToyImportance.data(Self.averages))
    #expect(try bytes(of: try read(gguf), .gguf) == gguf)
    #expect(try bytes(of: try read(gguf), .dat) == data)
    #expect(try bytes(of: try read(data), .dat) == data)
    // Chunks of a .dat file are taken to have 512 tokens.
    let tokens = try read(try bytes(of: try read(data), .gguf))
    #expect(tokens.form == .gguf && tokens.chunkSize == 512 && tokens.chunkCount == 2)
    #expect(try tokens.entries[0].sums() == [512, 1152])
    #expect(tokens.entries[0].counts == [1024])
    let weights = try tokens.entries.map { try $0.weights() }
    #expect(try weights == read(data).entries.map { try $0.weights() })
  }

  @Test("the files of llama-imatrix for a real model become one another") func real() throws {
    let paths = ["gguf", "dat"].map { Fixtures.path("importance/tinylm.\($0)") }
    let matrices = try paths.map { try ImportanceMatrix.read($0) }
    #expect(matrices.map(\.form) == [.gguf, .dat])
    #expect(matrices[0].entries.count == 42 && matrices[0].valueCount == 13_824)
    let weights = try matrices.map { try $0.entries.map { try $0.weights() } }
    #expect(weights[0] == weights[1])
    for (form, path) in zip([ImportanceMatrix.Form.gguf, .dat], paths) {
      let whole = try Files.bytes(of: path)
      #expect(try bytes(of: matrices[0], form) == whole)
    }
  }

  @Test("a .dat file leaves out weights that no token reached, and one without any is refused")
  func unseen() throws {
    let unseen = ToyImportance("blk.0.attn_q.weight", [0, 0], [0])
    let matrix = try read(ToyImportance.gguf(Self.entries + [unseen]))
    #expect(matrix.entries[0].isUnseen)
    #expect(try bytes(of: matrix, .dat) == ToyImportance.data(Self.averages))
    let empty = try read(ToyImportance.gguf([unseen]))
    let error = Laws.error { () throws(ModelError) in try empty.byteCount(as: .dat) }
    #expect(error?.kind == .unsupported && error?.file == empty.path)
  }

  @Test("what a form cannot hold is refused") func limits() throws {
    let long = String(repeating: "x", count: 60)
    let named = try read(ToyImportance.data([ToyImportance("blk.0.\(long)", [1], [1])]))
    let large = try read(ToyImportance.data([ToyImportance("blk.0.a", [1e38], [1])]))
    let accent = try read(ToyImportance.gguf([ToyImportance("blk.0.é", [1], [1])]))
    #expect(
      Laws.error { () throws(ModelError) in try accent.byteCount(as: .dat) }?.kind == .unsupported)
    for (matrix, kind) in [(named, ModelError.Kind.unsupported), (large, .limit)] {
      let error = Laws.error { () throws(ModelError) in try matrix.byteCount(as: .gguf) }
      #expect(error?.kind == kind && error?.tensor?.hasPrefix("blk.0.") == true)
    }
  }

  // MARK: - Adding

  @Test("sums and counts are added, and entries of one matrix alone stay") func merging() throws {
    let first = try read(ToyImportance.gguf(Self.entries))
    let more = [
      ToyImportance("blk.0.attn_q.weight", [7], [4]),
      ToyImportance("blk.0.ffn_up_exps.weight", [1, 1, 3, 4, 0, 0], [4, 2, 0]),
    ]
    let keys = ToyImportance.keys(datasets: ["b.txt", "c.txt"], chunkCount: 1, chunkSize: 9)
    let second = try read(ToyImportance.gguf(more, keys))
    let sum = try ImportanceMatrix.merged([first, second])
    #expect(
      sum.entries.map(\.name) == [more[0].name, Self.entries[0].name, Self.entries[1].name])
    #expect(try sum.entries.map { try $0.sums() } == [[7], [4, 9], [2, 3, 3, 4, 5, 6]])
    #expect(sum.entries.map(\.counts) == [[4], [8], [7, 2, 5]])
    #expect(sum.datasets == ["a.txt", "b.txt", "c.txt"])
    #expect(sum.chunkSize == 4 && sum.chunkCount == 2 && sum.form == .gguf)
    // Those of a .dat file have one count, and chunks of the size of the other file.
    let mixed = try ImportanceMatrix.merged([first, try read(ToyImportance.data(Self.averages))])
    #expect(try mixed.entries[0].sums() == [8, 18])
    #expect(mixed.entries[0].counts == [16])
    #expect(mixed.entries[1].counts == [11, 8, 13] && mixed.chunkCount == 4)
    let alone = try ImportanceMatrix.merged([try read(ToyImportance.data(Self.averages))])
    #expect(alone.form == .dat)
    #expect(throws: ModelError.self) { try ImportanceMatrix.merged([]) }
  }

  @Test("matrices of different models are not added") func mismatch() throws {
    let first = try read(ToyImportance.gguf(Self.entries))
    for other in [
      ToyImportance("blk.0.ffn_down.weight", [4, 9, 1], [8]),
      ToyImportance("blk.0.ffn_up_exps.weight", [1, 2, 0, 0, 5, 6], [3, 5]),
    ] {
      let second = try read(ToyImportance.gguf([other]))
      let error = Laws.error { () throws(ModelError) in
        try ImportanceMatrix.merged([first, second])
      }
      #expect(error?.kind == .mismatch && error?.tensor == other.name)
    }
    let many = try read(ToyImportance.gguf([ToyImportance("a", [3e38], [0x1p53])]))
    let error = Laws.error { () throws(ModelError) in try ImportanceMatrix.merged([many, many]) }
    #expect(error?.kind == .limit)
  }

  // MARK: - Files

  @Test("numbers are read in runs, from every file of a sum (seed 920)") func runs() throws {
    var random = Seeded(920)
    let numbers = random.weights((1 << 16) + 3).map(\.magnitude)
    let toy = ToyImportance("blk.0.attn_q.weight", numbers, [2])
    let (gguf, data) = (ToyImportance.gguf([toy]), ToyImportance.data([toy]))
    let matrices = [try read(gguf), try read(data)]
    #expect(try bytes(of: matrices[0], .gguf) == gguf)
    #expect(try bytes(of: matrices[1], .dat) == data)
    let sum = try ImportanceMatrix.merged(matrices)
    let expected = numbers.map { $0 + $0 * 4 }
    #expect(sum.entries[0].counts == [10])
    #expect(try sum.entries[0].sums() == expected)
    #expect(try sum.entries[0].sums(in: 65_530..<65_539) == Array(expected[65_530...]))
    let bad = ToyImportance(toy.name, numbers.dropLast() + [.nan], [2])
    let matrix = try ImportanceMatrix.open(try scratch.write(ToyImportance.data([bad]), as: "bad"))
    #expect(matrix.faults.map(\.found) == ["nan, column \(numbers.count - 1)"])
  }

  @Test("a file that changes after it was opened is an error") func changes() throws {
    for bytes in [ToyImportance.gguf(Self.entries), ToyImportance.data(Self.averages)] {
      let matrix = try read(bytes)
      try scratch.write(bytes + [0], as: "\(try scratch.names().count - 1)")
      let error = Laws.error { () throws(ModelError) in try matrix.entries[0].weights() }
      #expect(error?.kind == .io && error?.file == matrix.path)
    }
  }
}
