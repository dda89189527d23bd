import TensorModel
import TestSupport
import Testing

@Suite struct VocabularyTests {
  @Test("byte counts follow from the bit width", arguments: ScalarType.allCases)
  func byteCounts(type: ScalarType) {
    #expect(type.byteCount(of: 0) == 0)
    #expect(type.byteCount(of: 8) == type.bitWidth)
    #expect(type.byteCount(of: .max) == nil)
    #expect(type.byteCount(of: 1) == (type.bitWidth % 8 == 0 ? type.bitWidth / 8 : nil))
    #expect(ScalarType(rawValue: type.name) == type)
  }

  @Test("four- and six-bit types have only whole byte counts") func partialBytes() {
    #expect(ScalarType.f4.byteCount(of: 3) == nil)
    #expect(ScalarType.f4.byteCount(of: 4) == 2)
    #expect(ScalarType.f6e2m3.byteCount(of: 2) == nil)
    #expect(ScalarType.f6e3m2.byteCount(of: 4) == 3)
  }

  @Test(
    "a grouping has a largest and a central code",
    arguments: [(2, 3, 2), (3, 7, 4), (4, 15, 8), (8, 255, 128)])
  func codes(bits: Int, largest: Int, central: Int) {
    let grouping = Grouping(bits: bits, groupSize: 32, offset: .none, parameters: .f16)
    #expect(grouping.largestCode == largest)
    #expect(grouping.centralCode == central)
  }

  @Test("encodings are described in words") func descriptions() {
    let affine = Grouping(bits: 4, groupSize: 32, offset: .bias, parameters: .f16)
    let centered = Grouping(bits: 3, groupSize: 64, offset: .none, parameters: .bf16)
    #expect(Encoding.plain(.bf16).description == "BF16")
    #expect(
      Encoding.grouped(affine).description == "4-bit, groups of 32, F16 scale and bias")
    #expect(Encoding.grouped(centered).description == "3-bit, groups of 64, BF16 scale")
    let layout = BlockLayout(name: "Q4_K", elementCount: 256, byteCount: 144)
    #expect(Encoding.foreign(layout).description == "Q4_K")
  }

  @Test("exact names are compared by their bytes") func exactNames() {
    let (composed, decomposed) = ("\u{e9}", "e\u{301}")
    #expect(composed == decomposed)
    #expect(ExactName(composed) != ExactName(decomposed))
    #expect(Set([ExactName(composed), ExactName(decomposed), ExactName(composed)]).count == 2)
  }

  @Test("an error is described with all fields in one line") func errors() {
    let error = ModelError(
      .malformed, "it is broken", file: "f", tensor: "t", offset: 3, expected: "a", found: "b",
      hint: "mend it")
    #expect(error.description == "f: t: it is broken at byte 3, expected a, found b (mend it)")
    #expect(ModelError(.io, "gone").description == "gone")
  }

  @Test("a location is added only where it is missing") func locating() {
    let error = ModelError(.io, "gone", tensor: "inner").located(file: "f", tensor: "outer")
    #expect(error.file == "f")
    #expect(error.tensor == "inner")
    #expect(error.located(file: "g").file == "f")
  }

  @Test("grouped rows allocate codes and parameters") func groupedRows() {
    let affine = Grouping(bits: 4, groupSize: 8, offset: .bias, parameters: .f16)
    let rows = GroupedRows(grouping: affine, columnCount: 24, rowCount: 5)
    #expect(rows.groupCount == 3)
    #expect((rows.codes.count, rows.scales.count, rows.biases.count) == (120, 15, 15))
    let centered = Grouping(bits: 4, groupSize: 8, offset: .none, parameters: .f16)
    #expect(GroupedRows(grouping: centered, columnCount: 8, rowCount: 1).biases.isEmpty)
  }
}
