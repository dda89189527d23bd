import Kernels
import TestSupport
import Testing

@Suite struct GroupTests {
  static let formats: [FloatFormat] = [.float16, .bfloat16, .float32]
  static let groupSizes = [1, 7, 8, 16, 24, 32, 33, 64, 100, 128, 256]

  /// Groups that cover every case of the arithmetic, in more than one batch.
  static func groups(of size: Int, seed: UInt64) -> [Float] {
    var random = Seeded(seed)
    var values: [Float] = []
    for scale: Float in [1, 1000, 1e-6, 1e-7, 3e-8, 1e-38, 0x1p-146] {
      for _ in 0..<8 { values += random.weights(size, scale: scale) }
    }
    for offset: Float in [0.5, -3, 1000, -60000] {  // A narrow range far from zero.
      values += random.weights(size, scale: 0.01).map { $0 + offset }
    }
    values += random.weights(size).map(\.magnitude)
    values += random.weights(size).map { -$0.magnitude }
    for constant: Float in [0, -0.0, 1, -1, 0.1, 65504, -65504, 1e-30] {
      values += [Float](repeating: constant, count: size)
    }
    for pair: (Float, Float) in [(0, -0.0), (-1, 1), (1, -1), (0.5, 0.25), (0, 0x1p-149)] {
      values += (0..<size).map { $0 % 2 == 0 ? pair.0 : pair.1 }
    }
    for _ in 0..<4 {  // Many ties of codes and of magnitudes.
      values += (0..<size).map { _ in Float(Int.random(in: -30...30, using: &random)) / 4 }
    }
    return values
  }

  @Test(
    "minmax encoding matches its plain twin (seed 91)", arguments: InstructionSet.available,
    groupSizes)
  func minMax(set: InstructionSet, size: Int) {
    let values = Self.groups(of: size, seed: 91)
    for bits in 1...8 {
      for format in Self.formats {
        let kernel = GroupKernel(groupSize: size, bits: bits, parameters: format)
        let twin = GroupTwin(groupSize: size, bits: bits, parameters: format)
        #expect(kernel.minMax(values, on: set) == twin.minMax(values), "\(bits) bits, \(format)")
      }
    }
  }

  @Test(
    "symmetric encoding matches its plain twin (seed 92)", arguments: InstructionSet.available,
    groupSizes)
  func symmetric(set: InstructionSet, size: Int) {
    let values = Self.groups(of: size, seed: 92)
    for bits in 1...8 {
      for format in Self.formats {
        let kernel = GroupKernel(groupSize: size, bits: bits, parameters: format)
        let twin = GroupTwin(groupSize: size, bits: bits, parameters: format)
        #expect(
          kernel.symmetric(values, on: set) == twin.symmetric(values), "\(bits) bits, \(format)")
      }
    }
  }

  @Test(
    "decoding multiplies and then adds (seed 93)", arguments: InstructionSet.available, groupSizes)
  func decoding(set: InstructionSet, size: Int) {
    var random = Seeded(93)
    let groups = 37
    let codes = random.codes(groups * size, bits: 8)
    var scales = random.weights(groups)
    let biases = random.weights(groups)
    scales[0] = -0.0
    let kernel = GroupKernel(groupSize: size, bits: 8, parameters: .float32)
    let affine = kernel.decode(
      .init(codes: codes, scales: scales.bits, biases: biases.bits), on: set)
    let centered = kernel.decode(.init(codes: codes, scales: scales.bits), on: set)
    for i in codes.indices {
      let product = scales[i / size] * Float(codes[i])
      #expect(affine[i].bitPattern == (product + biases[i / size]).bitPattern)
      #expect(centered[i].bitPattern == (scales[i / size] * Float(Int(codes[i]) - 128)).bitPattern)
    }
  }

  @Test("a negative scale times zero is negative zero", arguments: InstructionSet.available)
  func negativeZero(set: InstructionSet) {
    let kernel = GroupKernel(groupSize: 8, bits: 4, parameters: .float16)
    let scale = Float(-0.5).bitPattern
    let values = kernel.decode(
      .init(codes: [UInt8](repeating: 8, count: 8), scales: [scale]), on: set)
    #expect(values.allSatisfy { $0 == 0 && $0.sign == .minus })
  }

  // This holds for ordinary weights, as long as rounding the parameters changes no code. With more
  // bits, the rounding of a bfloat16 scale is more than half a step at the last code.
  @Test(
    "encoding decoded values gives the same codes (seed 94)", arguments: InstructionSet.available,
    [16, 32, 64, 100, 128, 256])
  func idempotence(set: InstructionSet, size: Int) throws {
    var random = Seeded(94)
    let values = random.weights(200 * size, scale: 0.1)
    for (format, widest) in [(FloatFormat.float16, 8), (.bfloat16, 4), (.float32, 8)] {
      for bits in 2...widest {
        let kernel = GroupKernel(groupSize: size, bits: bits, parameters: format)
        let affine = try kernel.minMax(values, on: set).get()
        let again = try kernel.minMax(kernel.decode(affine, on: set), on: set).get()
        #expect(again.codes == affine.codes, "minmax, \(bits) bits, \(format)")
        let centered = try kernel.symmetric(values, on: set).get()
        let centeredAgain = try kernel.symmetric(kernel.decode(centered, on: set), on: set).get()
        #expect(centeredAgain == centered, "symmetric, \(bits) bits, \(format)")
      }
    }
  }

  @Test(
    "the first value of largest magnitude gets code 0",
    arguments: InstructionSet.available)
  func farthest(set: InstructionSet) throws {
    let kernel = GroupKernel(groupSize: 8, bits: 4, parameters: .float16)
    let negative = try kernel.symmetric([1, -4, 4, 2, 0, 0, 0, 0], on: set).get()
    #expect(negative.scales == [Float(0.5).bitPattern])
    #expect(negative.codes == [10, 0, 15, 12, 8, 8, 8, 8])
    let positive = try kernel.symmetric([1, 4, -4, 2, 0, 0, 0, 0], on: set).get()
    #expect(positive.scales == [Float(-0.5).bitPattern])
    #expect(positive.codes == [6, 0, 15, 4, 8, 8, 8, 8])
  }

  @Test("constant groups are exact, with codes of 0", arguments: InstructionSet.available)
  func constants(set: InstructionSet) throws {
    for size in [7, 32] {
      let kernel = GroupKernel(groupSize: size, bits: 4, parameters: .float16)
      for constant: Float in [0, -0.0, 0.5, -65504] {
        let values = [Float](repeating: constant, count: 3 * size)
        let encoded = try kernel.minMax(values, on: set).get()
        #expect(encoded.codes.allSatisfy { $0 == 0 })
        #expect(encoded.biases == [UInt32](repeating: constant.bitPattern, count: 3))
        #expect(kernel.decode(encoded, on: set) == values)
      }
    }
  }

  @Test("encoding no values succeeds", arguments: InstructionSet.available)
  func empty(set: InstructionSet) throws {
    let kernel = GroupKernel(groupSize: 64, bits: 4, parameters: .float16)
    #expect(try kernel.minMax([], on: set).get() == GroupTwin.Encoded())
    #expect(try kernel.symmetric([], on: set).get() == GroupTwin.Encoded())
    #expect(kernel.decode(.init(), on: set) == [])
  }
}
