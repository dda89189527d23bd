import Kernels
import TensorModel
import TestSupport
import Testing

/// The numbers of small codes, and how they are packed.
@Suite struct CodeTableTests {
  @Test(
    "numbers of codes that the specification lists",
    arguments: [
      (ScalarType.f8e4m3, 0x7e, Float(448)), (.f8e4m3, 0x08, 0x1p-6), (.f8e4m3, 0x07, 0x1.cp-7),
      (.f8e4m3, 0x01, 0x1p-9), (.f8e4m3, 0xfe, -448), (.f8e5m2, 0x7b, 57344),
      (.f8e5m2, 0x04, 0x1p-14), (.f8e5m2, 0x03, 0x1.8p-15), (.f8e5m2, 0x01, 0x1p-16),
      (.f8e5m2, 0x7c, .infinity), (.f8e5m2, 0xfc, -.infinity), (.f6e2m3, 0x1f, 7.5),
      (.f6e2m3, 0x08, 1), (.f6e2m3, 0x07, 0.875), (.f6e2m3, 0x01, 0.125), (.f6e2m3, 0x3f, -7.5),
      (.f8e8m0, 0, 0x1p-127), (.f8e8m0, 127, 1), (.f8e8m0, 254, 0x1p127), (.i8, 0x80, -128),
      (.i8, 0x7f, 127), (.i8, 0xff, -1),
    ])
  func numbers(type: ScalarType, code: Int, number: Float) throws {
    #expect(try #require(CodeTable(type)).values[code].bitPattern == number.bitPattern)
  }

  @Test("E2M1 has these numbers, of both signs") func fp4() throws {
    let table = try #require(CodeTable(.f4))
    let magnitudes: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    #expect(
      table.values.map(\.bitPattern) == (magnitudes + magnitudes.map { -$0 }).map(\.bitPattern))
  }

  @Test(
    "codes that are NaN",
    arguments: [
      (ScalarType.f8e4m3, [0x7f, 0xff]), (.f8e5m2, [0x7d, 0x7e, 0x7f, 0xfd, 0xfe, 0xff]),
      (.f8e8m0, [0xff]), (.f4, []), (.f6e2m3, []), (.i8, []),
    ])
  func notNumbers(type: ScalarType, codes: [Int]) throws {
    let values = try #require(CodeTable(type)).values
    #expect(values.count == 1 << type.bitWidth)
    #expect(values.indices.filter { values[$0].isNaN } == codes)
  }

  @Test("types without small codes have no table") func others() {
    for type in [ScalarType.f16, .bf16, .f32, .u8, .u32, .bool, .f8e4m3fnuz] {
      #expect(CodeTable(type) == nil)
    }
  }

  @Test(
    "codes are packed from the lowest bit on (seed 301)", arguments: [ScalarType.f4, .f6e2m3, .i8])
  func packing(type: ScalarType) throws {
    var random = Seeded(301)
    let table = try #require(CodeTable(type))
    let bytes = random.bytes(40)
    let stream = bytes.flatMap { byte in (0..<8).map { byte >> $0 & 1 } }
    for (offset, count) in [(0, 16), (3, 32), (1, 5), (7, 1), (0, 0)] {
      var values = [Float](repeating: .nan, count: count + 4)
      var target = values.mutableSpan
      table.decode(bytes.span, at: offset, scale: 0.375, into: &target, 2..<2 + count)
      let expected = (0..<count).map { index in
        let first = offset * 8 + index * type.bitWidth
        let code = (0..<type.bitWidth).reduce(0) { $0 | Int(stream[first + $1]) << $1 }
        return table.values[code] * 0.375
      }
      #expect(values[2..<2 + count].map(\.bitPattern) == expected.map(\.bitPattern))
      let others = values.prefix(2) + values.suffix(2)
      #expect(others.count { $0.isNaN } == 4)
    }
  }
}
