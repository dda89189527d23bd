import Kernels
import TensorModel
import TestSupport
import Testing

/// MXFP4 in blocks of llama.cpp, and as codes beside exponents.
@Suite struct MXFP4BlockTests {
  /// A block, byte by byte.
  private func twin(_ codes: ArraySlice<UInt8>, _ exponent: UInt8) -> [UInt8] {
    let numbers = codes.flatMap { [$0 & 0xf, $0 >> 4] }
    return [exponent] + (0..<16).map { numbers[$0] | numbers[$0 + 16] << 4 }
  }

  private func blocks(
    _ codes: [UInt8], _ exponents: [UInt8], _ set: InstructionSet
  ) -> [UInt8] {
    var blocks = [UInt8](repeating: 0xaa, count: 17 * exponents.count)
    var span = blocks.mutableSpan
    var raw = span.mutableBytes
    MXFP4Blocks.join(codes: codes.span, exponents: exponents.span, into: &raw, on: set)
    return blocks
  }

  @Test(
    "blocks match their plain twin, and come apart again (seed 612)",
    arguments: InstructionSet.available)
  func forthAndBack(set: InstructionSet) {
    var random = Seeded(612)
    for count in [0, 1, 2, 3, 31, 64, 257] {
      let codes = (0..<16 * count).map { _ in UInt8.random(in: 0...255, using: &random) }
      let exponents = (0..<count).map { _ in UInt8.random(in: 0...254, using: &random) }
      let blocks = blocks(codes, exponents, set)
      let expected = exponents.indices.flatMap {
        twin(codes[16 * $0..<16 * $0 + 16], exponents[$0])
      }
      #expect(blocks == expected)
      var codesBack = [UInt8](repeating: 0, count: 16 * count)
      var exponentsBack = [UInt8](repeating: 0, count: count)
      var codeSpan = codesBack.mutableSpan
      var exponentSpan = exponentsBack.mutableSpan
      MXFP4Blocks.split(blocks.span, codes: &codeSpan, exponents: &exponentSpan, on: set)
      #expect(codesBack == codes)
      #expect(exponentsBack == exponents)
    }
  }

  @Test("a block has the numbers of its codes and its exponent (seed 613)")
  func numbers() throws {
    var random = Seeded(613)
    let table = try #require(CodeTable(.f4))
    for exponent in [UInt8(0), 1, 2, 100, 127, 128, 200, 254] {
      let codes = (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) }
      let blocks = blocks(codes, [exponent], .best)
      var found = [Float](repeating: 0, count: 32)
      var span = found.mutableSpan
      BlockType.mxfp4.decode(blocks.span, into: &span)
      let scale = try #require(CodeTable(.f8e8m0)).values[Int(exponent)]
      let expected = codes.flatMap { [$0 & 0xf, $0 >> 4] }.map { table.values[Int($0)] * scale }
      // llama.cpp has no negative zero.
      #expect(found == expected)
    }
  }
}
