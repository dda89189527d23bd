import Kernels
import TestSupport
import Testing

@Suite struct BlockTests {
  /// The bytes of a golden file, made by fixtures/generate/ggml_blocks.py with gguf 0.19.0.
  private func golden(_ name: String) throws -> [UInt8] {
    try Fixtures.bytes("golden/ggml/\(name)")
  }

  private func decode(_ type: BlockType, _ blocks: [UInt8], on set: InstructionSet) -> [Float] {
    var values = [Float](
      repeating: .nan, count: blocks.count / type.byteCount * type.elementCount)
    var span = values.mutableSpan
    type.decode(blocks.span, into: &span, on: set)
    return values
  }

  @Test(
    "blocks decode to the bits of the gguf package", arguments: InstructionSet.available,
    BlockType.allCases)
  func goldenBlocks(set: InstructionSet, type: BlockType) throws {
    let name = "\(type)".uppercased()
    let blocks = try golden("\(name).blocks")
    let expected = try FloatFormat.float32.decode(golden("\(name).f32"), on: .portable)
    #expect(blocks.count == 64 * type.byteCount)
    #expect(decode(type, blocks, on: set).bits == expected.bits)
  }

  private static let grouped = BlockType.allCases.filter { $0.groupForm != nil }

  @Test(
    "unpacked codes and scales give the values of a block, and pack to the same block",
    arguments: InstructionSet.available, grouped)
  func unpackAndPack(set: InstructionSet, type: BlockType) throws {
    let blocks = try golden("\("\(type)".uppercased()).blocks")
    let count = blocks.count / type.byteCount
    let form = try #require(type.groupForm)
    var codes = [UInt8](repeating: 0xaa, count: count * 32)
    var scales = [Float](repeating: .nan, count: count)
    var biases = scales
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    var biasSpan = biases.mutableSpan
    var values = [Float](repeating: .nan, count: count * 32)
    var valueSpan = values.mutableSpan
    var packed = [UInt8](repeating: 0xaa, count: blocks.count)
    var packedSpan = packed.mutableSpan
    var packedBytes = packedSpan.mutableBytes
    switch form {
    case .symmetric(let bits):
      type.unpack(blocks.span, codes: &codeSpan, scales: &scaleSpan, on: set)
      let kernel = GroupKernel(groupSize: 32, bits: bits, parameters: .float16)
      kernel.decode(
        codes.span, scales: scales.span, zero: kernel.symmetricZero, into: &valueSpan, on: set)
      type.pack(codes: codes.span, scales: scales.span, into: &packedBytes, on: set)
    case .affine(let bits):
      type.unpack(
        blocks.span, codes: &codeSpan, scales: &scaleSpan, biases: &biasSpan, on: set)
      let kernel = GroupKernel(groupSize: 32, bits: bits, parameters: .float16)
      kernel.decode(
        codes.span, scales: scales.span, biases: biases.span, into: &valueSpan, on: set)
      type.pack(
        codes: codes.span, scales: scales.span, biases: biases.span, into: &packedBytes, on: set)
    }
    #expect(values.bits == decode(type, blocks, on: set).bits)
    #expect(packed == blocks)
  }

  @Test(
    "packing rounds scales to float16, for any number of blocks (seed 71)",
    arguments: InstructionSet.available)
  func rounding(set: InstructionSet) {
    var random = Seeded(71)
    for count in [0, 1, 2, 7, 63, 64, 65, 200] {
      let codes = random.codes(count * 32, bits: 4)
      let scales = random.weights(count)
      let biases = random.weights(count)
      var blocks = [UInt8](repeating: 0xaa, count: count * 20)
      var span = blocks.mutableSpan
      var raw = span.mutableBytes
      BlockType.q4_1.pack(
        codes: codes.span, scales: scales.span, biases: biases.span, into: &raw, on: set)
      for k in 0..<count {
        let block = Array(blocks[(20 * k)..<(20 * (k + 1))])
        let halves = [scales[k], biases[k]].map(HalfTwin.half(of:))
        let expected = halves.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }
        #expect(Array(block[..<4]) == expected)
        #expect(
          Array(block[4...]) == (0..<16).map { codes[32 * k + $0] | codes[32 * k + 16 + $0] << 4 })
      }
    }
  }
}
