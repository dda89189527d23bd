import TensorModel
import TestSupport
import Testing

@Suite struct MetadataTests {
  @Test("entries keep their order when one is changed, removed or added") func order() {
    var metadata = Metadata()
    for key in ["c", "a", "b"] { metadata[key] = .text(key) }
    metadata["a"] = .u32(7)
    #expect(metadata.entries.map(\.key) == ["c", "a", "b"])
    #expect(metadata["a"] == .unsigned(7, .u32))
    metadata["c"] = nil
    metadata["absent"] = nil
    #expect(metadata.entries.map(\.key) == ["a", "b"])
    metadata["c"] = .bool(true)
    #expect(metadata.entries.map(\.key) == ["a", "b", "c"])
  }

  @Test("keys are compared by their bytes") func exactKeys() {
    var metadata = Metadata()
    metadata["\u{e9}"] = .u32(1)
    metadata["e\u{301}"] = .u32(2)
    #expect(metadata.entries.count == 2)
    #expect(metadata["\u{e9}"]?.integer == 1)
    #expect(metadata["e\u{301}"]?.integer == 2)
  }

  static let values: [(MetadataValue, MetadataType, Int?, String?)] = [
    (.unsigned(7, .u8), .u8, 7, nil), (.unsigned(.max, .u64), .u64, nil, nil),
    (.signed(-3, .i16), .i16, -3, nil), (.float(1.5), .f32, nil, nil),
    (.double(2), .f64, nil, nil), (.bool(true), .bool, nil, nil),
    (.text("ü"), .string, nil, "ü"), (.string([0x61, 0xFF]), .string, nil, "a\u{FFFD}"),
    (.array(MetadataArray(elementType: .u8, count: 2, bytes: [1, 2])), .array, nil, nil),
    (.u32(9), .u32, 9, nil),
  ]

  @Test("a value has a type, and may have an integer or a text", arguments: values)
  func access(value: MetadataValue, type: MetadataType, integer: Int?, text: String?) {
    #expect(value.type == type)
    #expect(value.integer == integer)
    #expect(value.text == text)
  }

  @Test("metadata types have GGUF's numbers and widths") func types() {
    #expect(MetadataType.allCases.map(\.rawValue) == Array(0...12))
    #expect(
      MetadataType.allCases.map(\.byteCount) == [1, 1, 2, 2, 4, 4, 4, 1, nil, nil, 8, 8, 8])
  }
}
