import Bytes
import Formats
import LawSupport
import TensorModel
import TestSupport
import Testing

/// The law of containers, for every format with a container of its own.
@Suite struct ContainerLawTests {
  private static let formats: [Format] = Formats.all.filter { format in
    Formats.all.first { $0.container == format.container } == format
  }

  /// Tensors of several types and shapes, with what each container can hold.
  private static func contents(_ format: Format) -> (Contents, [[UInt8]]) {
    var random = Seeded(61)
    let shapes = [Shape(3, 40), Shape(7), Shape(2, 3, 32), Shape(1, 1)]
    let types: [ScalarType] = [.f16, .bf16, .f32, .i32]
    let stored = zip(shapes, types).enumerated().compactMap { index, pair in
      StoredTensor(plain: "layer.\(index).weight", pair.0, pair.1)
    }
    var metadata = Metadata()
    metadata.append("general.architecture", .text("llama"))
    metadata.append("general.name", .text("ä name"))
    metadata.append("note", .text("two\nlines"))
    if format.container.features.contains(.typedMetadata) {
      metadata.append("count", .u32(7))
      metadata.append("ratio", .float(0.25))
    }
    let contents = Contents(
      stored: StoredTensors(stored), metadata: metadata, companions: [], provenance: Provenance())
    return (
      contents, stored.map { part in (0..<part.byteCount).map { _ in UInt8(random.below(256)) } }
    )
  }

  @Test("there are three containers") func presence() {
    #expect(Self.formats.map(\.name) == ["safetensors", "gguf", "pleat"])
  }

  @Test("every container keeps the law of containers (seed 61)", arguments: formats)
  func law(format: Format) throws {
    let (contents, bytes) = Self.contents(format)
    #expect(contents.stored.count == 4)
    let suffix = try #require(format.container.suffixes.first)
    try ContainerLaw.check(format, contents, bytes, as: "model." + suffix, in: try Scratch())
  }

  @Test("a container without tensors keeps it too", arguments: formats)
  func empty(format: Format) throws {
    var metadata = Metadata()
    metadata.append("general.architecture", .text("llama"))
    let contents = Contents(
      stored: [], metadata: metadata, companions: [], provenance: Provenance())
    let suffix = try #require(format.container.suffixes.first)
    try ContainerLaw.check(format, contents, [], as: "model." + suffix, in: try Scratch())
  }
}
