import Bytes
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

@Suite struct GoldenGGUFTests {
  static let names = Fixtures.names(in: "golden/gguf", suffix: ".json")
  /// The models that Pleat writes again byte for byte: version 3, little-endian, in one file.
  static let canonical = names.filter {
    !$0.hasPrefix("split") && !$0.hasPrefix("big-endian") && !$0.hasPrefix("version")
      && $0 != "metadata-empty-arrays"
  }
  /// The models with numbers that Pleat decodes.
  static let decodable = names.filter { $0 != "metadata-empty-arrays" && $0 != "types-opaque" }
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  static func path(_ name: String) -> String {
    let path = "golden/gguf/\(name)"
    guard Fixtures.isFolder(path) else { return Fixtures.path(path + ".gguf") }
    return Fixtures.path(path + "/model-00001-of-00003.gguf")
  }

  @Test("the golden models are found") func presence() throws {
    #expect(Self.names.count >= 12)
    #expect(Self.canonical.count >= 5)
    #expect(Self.decodable.count == Self.names.count - 2)
    #expect(try GoldenDescription(gguf: "metadata-empty-arrays").tensors.isEmpty)
  }

  @Test("a model has the tensors that the gguf package reads", arguments: names)
  func catalog(name: String) throws {
    let expected = try GoldenDescription(gguf: name)
    let model = try Model.open(Self.path(name))
    #expect(model.format == .gguf)
    #expect(model.catalog.tensors.map(\.name) == expected.tensors.map(\.name))
    #expect(model.catalog.tensors.map(\.shape.dimensions) == expected.tensors.map(\.shape))
    let stored = model.catalog.tensors.indices.map { model.parts(of: $0)[0].encoding.description }
    #expect(stored == expected.tensors.map(\.type))
  }

  @Test("a model has the metadata that the gguf package reads", arguments: names)
  func metadata(name: String) throws {
    let expected = try GoldenDescription(gguf: name).metadata
    let found = try Model.open(Self.path(name)).catalog.metadata.entries
    #expect(found.map(\.key) == expected.map(\.key))
    #expect(found.map(\.value.goldenType) == expected.map(\.type))
    #expect(found.map(\.value.golden.normalised) == expected.map(\.value.normalised))
  }

  @Test(
    "the bytes of a tensor are those that the gguf package reads, in little-endian order",
    arguments: names)
  func bytes(name: String) throws {
    let expected = try GoldenDescription(gguf: name)
    let model = try Model.open(Self.path(name))
    let found = try model.catalog.tensors.indices.map { try model.partBytes(of: $0)[0] }
    #expect(try SHA256.hashes(of: found) == expected.tensors.map(\.hash))
  }

  @Test(
    "the decoded numbers of a tensor are those of the gguf package, bit for bit",
    arguments: decodable)
  func numbers(name: String) throws {
    let expected = try GoldenDescription(gguf: name)
    let model = try Model.open(Self.path(name))
    #expect(expected.tensors.contains { $0.floatHash != nil })
    for (index, tensor) in expected.tensors.enumerated() {
      guard let hash = tensor.floatHash else { continue }
      let floats = try #require(try model.floats(of: index), "\(tensor.name) is not decoded")
      #expect(try SHA256.hashes(of: [Numbers.f32(floats)]) == [hash], "\(tensor.name)")
    }
  }

  @Test("block types of intermediate results are not decoded") func opaqueTypes() throws {
    let model = try Model.open(Self.path("types-opaque"))
    #expect(model.catalog.tensors.count == 1)
    for index in model.catalog.tensors.indices { #expect(try model.floats(of: index) == nil) }
  }

  @Test("IQ2_XXS of a big-endian file is refused, because its byte order is not certain")
  func bigEndianIQ2() throws {
    // Blocks of TQ2_0 are as long. The type follows the name, two extents and their number.
    var bytes = try Files.bytes(of: Self.path("big-endian"))
    let name = Array("blk.0.tq2_0.weight".utf8)
    let start = try #require(bytes.firstRange(of: name)).upperBound + 4 + 16
    #expect(bytes[start..<start + 4] == [0, 0, 0, 35])
    bytes[start + 3] = 16
    let model = try Model.open(try scratch.write(bytes, as: "iq2.gguf"))
    let index = try #require(model.catalog.tensors.firstIndex { $0.name == "blk.0.tq2_0.weight" })
    let error = Laws.error { () throws(ModelError) in try model.partBytes(of: index) }
    #expect(error?.kind == .unsupported && error?.tensor == "blk.0.tq2_0.weight")
    #expect(error?.what == "IQ2_XXS cannot be read from a big-endian file")
  }

  @Test("a little-endian model of version 3 is written again byte for byte", arguments: canonical)
  func rewriting(name: String) throws {
    let copy = try Rewriting.convert(Self.path(name), to: scratch.path("copy.gguf"), .gguf)
    #expect(try Files.bytes(of: copy) == Files.bytes(of: Self.path(name)))
  }

  @Test("rewriting loses nothing, and rewriting again gives the same file", arguments: names)
  func fixedPoint(name: String) throws {
    let first = try Rewriting.convert(Self.path(name), to: scratch.path("1.gguf"), .gguf)
    let second = try Rewriting.convert(first, to: scratch.path("2.gguf"), .gguf)
    #expect(try Files.bytes(of: first) == Files.bytes(of: second))
    let (left, right) = (try Model.open(Self.path(name)), try Model.open(first))
    let isWhole = Laws.areEqual(left.catalog, right.catalog)
    #expect(isWhole)
    for index in left.catalog.tensors.indices {
      #expect(try left.partBytes(of: index) == right.partBytes(of: index))
    }
  }

  @Test(
    "any file of a split set opens the whole set", arguments: ["split", "split-metadata-first"])
  func splitSets(name: String) throws {
    let whole = try Model.open(Self.path(name))
    for number in 1...3 {
      let path = Fixtures.path("golden/gguf/\(name)/model-0000\(number)-of-00003.gguf")
      let model = try Model.open(path)
      #expect(model.fileCount == 3)
      let isWhole = Laws.areEqual(model.catalog, whole.catalog)
      #expect(isWhole)
    }
    let folder = try Model.open(Fixtures.path("golden/gguf/\(name)"))
    let isWhole = Laws.areEqual(folder.catalog, whole.catalog)
    #expect(isWhole)
  }
}
