import Kernels
import LawSupport
import TensorModel
import TestSupport
import Testing
import Weights

@Suite struct RowDecoderTests {
  private func decode(_ decoder: RowDecoder, _ bytes: [UInt8], _ count: Int) -> [Float] {
    var values = [Float](repeating: .nan, count: count)
    decoder.decode(bytes[...], into: &values)
    return values
  }

  @Test("exactly the decodable plain types have a decoder", arguments: ScalarType.allCases)
  func plainTypes(type: ScalarType) throws {
    let decoder = RowDecoder(.plain(type))
    #expect((decoder != nil) == type.isDecodable)
  }

  @Test(
    "F16, BF16 and F32 are decoded exactly (seed 51)", arguments: [ScalarType.f16, .bf16, .f32])
  func numbers(type: ScalarType) throws {
    var random = Seeded(51)
    let decoder = try #require(RowDecoder(.plain(type)))
    for count in [0, 1, 7, 8, 33, 1000] {
      let values = Numbers.rounded(random.weights(count, scale: 100), to: type)
      let bytes = Numbers.bytes(values, type)
      #expect(decode(decoder, bytes, count).bits == values.bits)
    }
  }

  @Test("F64 is rounded to float32") func doubles() throws {
    let decoder = try #require(RowDecoder(.plain(.f64)))
    let values: [Double] = [0, -0.0, 0.1, -1e300, 1e-300, .pi, .infinity]
    let bytes = values.flatMap { Numbers.little($0.bitPattern) }
    #expect(decode(decoder, bytes, values.count).bits == values.map { Float($0).bitPattern })
  }

  @Test("GGML blocks decode to the same bits as in the gguf package", arguments: BlockType.allCases)
  func blocks(type: BlockType) throws {
    let layout = BlockLayout(
      name: type.name, elementCount: type.elementCount, byteCount: type.byteCount)
    let decoder = try #require(RowDecoder(.foreign(layout)))
    let bytes = try Fixtures.bytes("golden/ggml/\(type.name).blocks")
    let expected = try Fixtures.bytes("golden/ggml/\(type.name).f32")
    let values = decode(decoder, bytes, bytes.count / type.byteCount * type.elementCount)
    let isSame = values.bits == Numbers.floats(f32: expected).bits
    #expect(isSame)
    try EncodingLaw.check(.foreign(layout), bytes)
  }

  @Test(
    "plain types keep the encoding law (seed 52)",
    arguments: ScalarType.allCases.filter(\.isDecodable))
  func law(type: ScalarType) throws {
    var random = Seeded(52)
    let bytes = (0..<24 * type.bitWidth / 8).map { _ in UInt8(random.below(256)) }
    try EncodingLaw.check(.plain(type), bytes)
  }

  @Test("a slice of a buffer decodes like a separate array") func slices() throws {
    let decoder = try #require(RowDecoder(.plain(.f16)))
    let bytes = [9, 9, 9] + Numbers.f16([1, -2, 0.5]) + [9]
    var values = [Float](repeating: 0, count: 3)
    decoder.decode(bytes[3..<9], into: &values)
    #expect(values == [1, -2, 0.5])
  }

  @Test("groups and unknown blocks have no row decoder") func others() {
    let grouping = Grouping(bits: 4, groupSize: 32, offset: .bias, parameters: .f16)
    #expect(RowDecoder(.grouped(grouping)) == nil)
    for name in ["Q8_1", "Q8_K", "nonsense"] {
      #expect(
        RowDecoder(.foreign(BlockLayout(name: name, elementCount: 256, byteCount: 66))) == nil)
    }
  }
}
