import Kernels
import TensorModel
import TestSupport
import Testing

/// MXFP4 and NVFP4 in blocks of llama.cpp, and as codes beside scales.
@Suite struct FP4BlockTests {
  /// A block, byte by byte.
  private func twin(
    _ layout: FP4Blocks, _ codes: ArraySlice<UInt8>, _ scales: ArraySlice<UInt8>
  ) -> [UInt8] {
    let numbers = codes.flatMap { [$0 & 0xf, $0 >> 4] }
    let length = numbers.count / layout.scaleCount
    var runs: [UInt8] = []
    for run in 0..<layout.scaleCount {
      let first = run * length
      for index in first..<first + length / 2 {
        runs.append(numbers[index] | numbers[index + length / 2] << 4)
      }
    }
    return Array(scales) + runs
  }

  private func blocks(
    _ layout: FP4Blocks, _ codes: [UInt8], _ scales: [UInt8], _ set: InstructionSet
  ) -> [UInt8] {
    var blocks = [UInt8](
      repeating: 0xaa, count: layout.byteCount * scales.count / layout.scaleCount)
    var span = blocks.mutableSpan
    var raw = span.mutableBytes
    layout.join(codes: codes.span, scales: scales.span, into: &raw, on: set)
    return blocks
  }

  @Test(
    "blocks match their plain twin, and come apart again (seed 612)",
    arguments: FP4Blocks.allCases, InstructionSet.available)
  func forthAndBack(layout: FP4Blocks, set: InstructionSet) {
    var random = Seeded(612)
    let (codeCount, scaleCount) = (layout.codeByteCount, layout.scaleCount)
    for count in [0, 1, 2, 3, 31, 64, 257] {
      let codes = random.bytes(codeCount * count)
      let scales = random.bytes(scaleCount * count)
      let blocks = blocks(layout, codes, scales, set)
      var expected: [UInt8] = []
      for block in 0..<count {
        let ownCodes = codes[codeCount * block..<codeCount * (block + 1)]
        let ownScales = scales[scaleCount * block..<scaleCount * (block + 1)]
        expected += twin(layout, ownCodes, ownScales)
      }
      #expect(blocks == expected)
      var codesBack = [UInt8](repeating: 0, count: codes.count)
      var scalesBack = [UInt8](repeating: 0, count: scales.count)
      var codeSpan = codesBack.mutableSpan
      var scaleSpan = scalesBack.mutableSpan
      layout.split(blocks.span, codes: &codeSpan, scales: &scaleSpan, on: set)
      #expect(codesBack == codes)
      #expect(scalesBack == scales)
    }
  }

  @Test("a block of MXFP4 has the numbers of its codes and its exponent (seed 613)")
  func powersOfTwo() throws {
    for exponent in [UInt8(0), 1, 2, 100, 127, 128, 200, 254] {
      try checkNumbers(.mxfp4, .mxfp4, [exponent], scaleType: .f8e8m0)
    }
  }

  @Test("a block of NVFP4 has the numbers of its codes and its scales (seed 613)")
  func smallScales() throws {
    for first in stride(from: UInt8(0), to: 0x7C, by: 4) {
      try checkNumbers(
        .nvfp4, .nvfp4, [first, first + 1, first + 2, first + 3], scaleType: .f8e4m3)
    }
  }

  private func checkNumbers(
    _ layout: FP4Blocks, _ type: BlockType, _ scales: [UInt8], scaleType: ScalarType
  ) throws {
    var random = Seeded(613)
    let table = try #require(CodeTable(.f4))
    let codes = random.bytes(layout.codeByteCount)
    let blocks = blocks(layout, codes, scales, .best)
    var found = [Float](repeating: 0, count: type.elementCount)
    var span = found.mutableSpan
    type.decode(blocks.span, into: &span)
    let scaleTable = try #require(CodeTable(scaleType))
    let run = type.elementCount / scales.count
    let numbers = codes.flatMap { [$0 & 0xf, $0 >> 4] }
    let expected = numbers.indices.map { index -> Float in
      table.values[Int(numbers[index])] * scaleTable.values[Int(scales[index / run])]
    }
    // llama.cpp has no negative zero.
    #expect(found == expected)
  }
}
