import Bytes
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

@Suite struct GoldenSafetensorsTests {
  static let names = Fixtures.names(in: "golden/safetensors", suffix: ".json")
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static func path(_ name: String) -> String {
    let path = "golden/safetensors/\(name)"
    return Fixtures.path(Fixtures.isFolder(path) ? path : path + ".safetensors")
  }

  @Test("the golden checkpoints are found") func presence() { #expect(Self.names.count >= 12) }

  @Test("a checkpoint has the tensors that the safetensors package reads", arguments: names)
  func catalog(name: String) throws {
    let expected = try GoldenDescription(safetensors: name)
    let model = try Model.open(Self.path(name))
    #expect(model.format == .safetensors)
    #expect(model.catalog.tensors.map(\.name.codeUnits) == expected.tensors.map(\.name.codeUnits))
    #expect(model.catalog.tensors.map(\.encoding.description) == expected.tensors.map(\.type))
    #expect(model.catalog.tensors.map(\.shape.dimensions) == expected.tensors.map(\.shape))
    #expect(model.catalog.metadata.entries.map(\.key) == expected.metadata.map(\.key))
    #expect(
      model.catalog.metadata.entries.map { $0.value.text } == expected.metadata.map(\.value.string))
  }

  @Test("the bytes of a tensor are those that the safetensors package reads", arguments: names)
  func bytes(name: String) throws {
    let expected = try GoldenDescription(safetensors: name)
    let model = try Model.open(Self.path(name))
    let found = try model.catalog.tensors.indices.map { try model.partBytes(of: $0)[0] }
    #expect(try SHA256.hashes(of: found) == expected.tensors.map(\.hash))
  }

  @Test(
    "files of the safetensors package are written again byte for byte",
    arguments: [
      "every-dtype", "torch", "sharded/model-00001-of-00003", "sharded/model-00002-of-00003",
      "sharded/model-00003-of-00003",
    ])
  func rewriting(name: String) throws {
    let source = Fixtures.path("golden/safetensors/\(name).safetensors")
    let copy = try Rewriting.convert(source, to: scratch.path("copy.safetensors"), .safetensors)
    #expect(try Files.bytes(of: copy) == Files.bytes(of: source))
  }

  @Test("rewriting keeps all tensors, and rewriting again gives the same file", arguments: names)
  func fixedPoint(name: String) throws {
    let first = try Rewriting.convert(
      Self.path(name), to: scratch.path("1.safetensors"), .safetensors)
    let second = try Rewriting.convert(first, to: scratch.path("2.safetensors"), .safetensors)
    #expect(try Files.bytes(of: first) == Files.bytes(of: second))
    let (left, right) = (try Model.open(Self.path(name)), try Model.open(first))
    #expect(try contents(left) == contents(right))
  }

  /// The name, shape, encoding and hash of every tensor, sorted by name.
  private func contents(_ model: Model) throws -> [[String]] {
    let hashes = try SHA256.hashes(
      of: model.catalog.tensors.indices.map { try model.partBytes(of: $0)[0] })
    return zip(model.catalog.tensors, hashes).map { tensor, hash in
      ["\(tensor.name.codeUnits)", "\(tensor.shape)", "\(tensor.encoding)", hash]
    }.sorted { $0.lexicographicallyPrecedes($1) }
  }

  @Test("a folder with an index is written as the same shards again")
  func shards() throws {
    let source = Self.path("sharded")
    let copy = try Rewriting.convert(
      source, to: scratch.path("copy"), .safetensors, shardByteCount: 72)
    #expect(try Files.names(in: copy) == Files.names(in: source))
    for name in try Files.names(in: source) where name.hasSuffix(".safetensors") {
      #expect(try Files.bytes(of: "\(copy)/\(name)") == Files.bytes(of: "\(source)/\(name)"))
    }
    let index = "model.safetensors.index.json"
    let expected = try JSONParser.parse(Files.bytes(of: "\(source)/\(index)"), file: "text.json")
    #expect(
      try JSONParser.parse(Files.bytes(of: "\(copy)/\(index)"), file: "text.json") == expected)
  }
}
