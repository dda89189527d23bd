import Bytes
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Models that are written to several files.
@Suite struct ShardTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// Tensors of 128, 64, 640, 32 and 96 bytes with unsorted names.
  private static let tensors = [
    Toy("m.weight", .f32, [4, 8], seed: 1), Toy("b.weight", .f16, [32], seed: 2),
    Toy("z.weight", .f32, [5, 32], seed: 3), Toy("a.weight", .f16, [16], seed: 4),
    Toy("c.weight", .bf16, [3, 16], seed: 5),
  ]

  private static let metadata = [("general.architecture", "llama"), ("note", "kept")]

  private func source() throws -> String {
    try scratch.write(
      ToyFiles.safetensors(Self.tensors, metadata: Self.metadata), as: "source.safetensors")
  }

  @Test("shards are filled in order up to the limit; a larger tensor gets its own shard")
  func safetensorsShards() throws {
    let folder = try Rewriting.convert(
      source(), to: scratch.path("out"), .safetensors, shardByteCount: 200)
    let expected = [["b.weight", "m.weight"], ["z.weight"], ["a.weight", "c.weight"]]
    let files = (1...3).map { "model-0000\($0)-of-00003.safetensors" }
    let index = "model.safetensors.index.json"
    #expect(try Files.names(in: folder) == (files + [index]).sorted())
    for (file, names) in zip(files, expected) {
      let shard = try Model.open("\(folder)/\(file)")
      #expect(shard.catalog.tensors.map(\.name).sorted() == names)
      #expect(shard.catalog.metadata["note"]?.text == "kept")
    }
    let document = try JSONParser.parse(Files.bytes(of: "\(folder)/\(index)"), file: "text.json")
    let map = zip(files, expected).flatMap { file, names in
      names.map { JSONValue.Member($0, .string(file)) }
    }.sorted { $0.key < $1.key }
    #expect(
      document
        == .object([.init("metadata", ["total_size": 960]), .init("weight_map", .object(map))]))
  }

  @Test(
    "a sharded folder has the same tensors with any limit", arguments: [1, 128, 300, 4096])
  func safetensorsContents(limit: Int) throws {
    let folder = try Rewriting.convert(
      source(), to: scratch.path("out"), .safetensors, shardByteCount: limit)
    let model = try Model.open(folder)
    #expect(model.fileCount == (limit == 1 ? 5 : limit == 128 ? 4 : limit == 300 ? 3 : 1))
    try expectTensors(of: model)
  }

  @Test("splitting a single safetensors file is a usage error before anything is written")
  func singleFile() throws {
    let source = try source()
    let error = Laws.error { () throws(ModelError) in
      try Rewriting.convert(
        source, to: scratch.path("one.safetensors"), .safetensors, shardByteCount: 1)
    }
    #expect(error?.kind == .usage)
    #expect(try scratch.names() == ["source.safetensors"])
  }

  @Test(
    "the files of a split gguf model are named as by gguf-split, and each opens the model",
    arguments: [1, 200, 4096])
  func ggufSplits(limit: Int) throws {
    let source = try source()
    try scratch.makeFolder("out")
    let plan = try Plan.converting(
      try Model.open(source),
      to: Destination(path: scratch.path("out/m.gguf"), format: .gguf, shardByteCount: limit))
    try Run(plan)()
    let names = try Files.names(in: scratch.path("out"))
    let count = limit == 1 ? 5 : limit == 200 ? 3 : 1
    #expect(
      names
        == (count == 1
          ? ["m.gguf"] : (1...count).map { "m-0000\($0)-of-0000\(count).gguf" }))
    #expect(plan.fileNames == names)
    for name in names {
      let model = try Model.open(scratch.path("out/\(name)"))
      #expect(model.fileCount == count)
      #expect(model.catalog.tensors.map(\.name) == Self.order)
      try expectTensors(of: model)
      #expect(model.catalog.metadata["note"]?.text == "kept")
      #expect(model.catalog.metadata.entries.allSatisfy { !$0.key.hasPrefix("split.") })
    }
  }

  /// The order of the tensors in the source.
  private static let order = tensors.map(\.name)

  private func expectTensors(of model: Model) throws {
    let indices = Dictionary(
      uniqueKeysWithValues: model.catalog.tensors.enumerated().map { ($1.name, $0) })
    #expect(indices.count == Self.tensors.count)
    for toy in Self.tensors {
      let index = try #require(indices[toy.name])
      #expect(model.catalog.tensors[index].shape.dimensions == toy.shape)
      #expect(model.catalog.tensors[index].encoding == .plain(toy.type))
      #expect(try model.partBytes(of: index) == [toy.bytes])
    }
  }
}
