import Kernels
import TensorModel
import TestSupport
import Testing

/// The modes of MLX whose codes are numbers themselves.
@Suite struct ScaledKernelTests {
  private static let formats = GroupTests.formats

  /// Groups for every case of the arithmetic, as numbers of a format.
  private static func values(
    _ size: Int, _ format: FloatFormat, _ random: inout Seeded
  ) -> [Float] {
    let twin = ScaledTwin(mode: .mxfp4, arithmetic: format)
    var values = GroupTests.groups(of: size, seed: 701)
    // A largest magnitude near a power of two, times the largest number of a code.
    for largest: Float in [6, 448] {
      for exponent in [-120, -40, -14, -9, -8, -7, -1, 0, 1, 4] {
        for step in -3...3 {
          let unit: Float = format == .float32 ? 0x1p-23 : format == .float16 ? 0x1p-10 : 0x1p-7
          let most = largest * Float(sign: .plus, exponent: exponent, significand: 1)
          values += random.weights(size - 1).map { $0 / 8 * most }
          values.append(most * (1 + Float(step) * unit))
        }
      }
    }
    // Quotients in the middle between two numbers.
    for exponent in [-20, -3, 0, 2] {
      values += (0..<size).map { _ in
        Float(
          sign: .plus, exponent: exponent,
          significand: Float(Int.random(in: -48...48, using: &random)) / 8)
      }
    }
    return values.map(twin.rounded).map { $0.isFinite ? $0 : 0 }
  }

  @Test(
    "codes and scales match their plain twin (seed 700)", arguments: InstructionSet.available,
    ScaledMode.allCases)
  func twin(set: InstructionSet, mode: ScaledMode) {
    var random = Seeded(700)
    for format in Self.formats {
      let kernel = ScaledKernel(mode, arithmetic: format)
      let twin = ScaledTwin(mode: mode, arithmetic: format)
      let size = mode.groupSize
      // A mode may refuse some of the groups, so each is encoded alone, and the others together.
      var kept: [Float] = []
      let values = Self.values(size, format, &random)
      for range in Every.pieces(of: values.count, size) {
        let group = Array(values[range])
        let expected = twin.encode(group)
        #expect(kernel.encode(group, on: set) == expected)
        if case .success = expected { kept += group }
      }
      #expect(kept.count > 100 * size)
      #expect(kernel.encode(kept, on: set) == twin.encode(kept))
      // Groups after the last eight.
      for count in 0...9 {
        let few = Array(kept[..<(count * size)])
        #expect(kernel.encode(few, on: set) == twin.encode(few))
      }
    }
  }

  /// Compares the scale of a group that begins with `values`, and the codes of these, with given
  /// ones; all other values are 0.
  private func expect(
    _ values: [Float], _ mode: ScaledMode, _ format: FloatFormat = .float32, scale: UInt8,
    codes: [UInt8], on set: InstructionSet, at location: SourceLocation = #_sourceLocation
  ) throws {
    let size = mode.groupSize
    let group = values + [Float](repeating: 0, count: size - values.count)
    let found = try ScaledKernel(mode, arithmetic: format).encode(group, on: set).get()
    let all = mode == .mxfp8 ? found.codes : found.codes.flatMap { [$0 & 0xf, $0 >> 4] }
    #expect(found.scales == [scale], sourceLocation: location)
    #expect(
      all == codes + [UInt8](repeating: 0, count: size - codes.count), sourceLocation: location)
  }

  // The scales and codes of these tests are from mx.quantize of mlx 0.32.4.

  @Test("ties and zeros are those of MLX", arguments: InstructionSet.available)
  func ties(set: InstructionSet) throws {
    let values: [Float] = [
      6, 0.25, -0.25, 0.75, -0.75, 1.25, 1.75, 2.5, -2.5, 3.5, 5, -5, -0.0, -0.1,
    ]
    let codes: [UInt8] = [7, 0, 0, 1, 9, 2, 3, 4, 12, 5, 6, 14, 0, 0]
    try expect(values, .mxfp4, scale: 127, codes: codes, on: set)
    try expect(values, .nvfp4, scale: 56, codes: codes, on: set)
    try expect(
      [
        448, -0.0, 232, 248, 17, 19, 0x1p-10, 0x1.8p-9, -0x1p-10, 0x1.004p-10, 403.2,
      ], .mxfp8, scale: 127, codes: [126, 128, 118, 120, 88, 90, 0, 2, 128, 1, 125], on: set)
    for format in Self.formats {
      try expect([0, -0.0], .mxfp4, format, scale: 127, codes: [0, 0], on: set)
      try expect([0, -0.0], .nvfp4, format, scale: 0, codes: [0, 0], on: set)
      try expect([0, -0.0], .mxfp8, format, scale: 127, codes: [0, 128], on: set)
    }
  }

  @Test("scales are rounded in the type of the weights", arguments: InstructionSet.available)
  func scales(set: InstructionSet) throws {
    let f32 = FloatFormat.float32, (f16, bf16) = (FloatFormat.float16, FloatFormat.bfloat16)
    for format in [f32, f16] {
      try expect([6.015625, 2], .mxfp4, format, scale: 128, codes: [5, 2], on: set)
      try expect([12.03125, -2, 1], .mxfp4, format, scale: 129, codes: [5, 9, 0], on: set)
      try expect([449, 1], .mxfp8, format, scale: 128, codes: [118, 48], on: set)
    }
    // m / 6 is 1 in BF16.
    try expect([6.015625, 2], .mxfp4, bf16, scale: 127, codes: [7, 4], on: set)
    try expect([12.0, -2, 1], .mxfp4, bf16, scale: 128, codes: [7, 10, 1], on: set)
    try expect([448, 1], .mxfp8, bf16, scale: 127, codes: [126, 56], on: set)
    try expect([3.1, 1.3, -0.7], .nvfp4, f32, scale: 48, codes: [7, 5, 11], on: set)
  }

  @Test("small and large groups are those of MLX", arguments: InstructionSet.available)
  func extremes(set: InstructionSet) throws {
    try expect([0.02, 0.015, -0.01, 0.001], .nvfp4, scale: 2, codes: [7, 6, 13, 1], on: set)
    try expect([0.0059, 0.003, -0.001], .nvfp4, scale: 1, codes: [5, 3, 9], on: set)
    // Below half the smallest scale, all codes are 0.
    try expect([0.005, 0.001], .nvfp4, scale: 0, codes: [0, 0], on: set)
    try expect([2688, 1], .nvfp4, scale: 126, codes: [7, 0], on: set)
    try expect([2784, -464, 1], .nvfp4, scale: 126, codes: [7, 10, 0], on: set)
    try expect([0x1p-149, -0x1p-149], .mxfp8, scale: 127, codes: [0, 128], on: set)
    try expect([0x1.8p-125, 0x1p-127, -0x1p-128], .mxfp4, scale: 0, codes: [7, 2, 9], on: set)
    try expect([0x1.8p-124, 0x1p-127], .mxfp4, .bfloat16, scale: 1, codes: [7, 1], on: set)
    try expect([0x1.cp127, 0x1p126], .mxfp4, scale: 253, codes: [5, 2], on: set)
    try expect([0x1.e666p127, 0x1p120], .mxfp8, scale: 247, codes: [119, 56], on: set)
  }

  @Test("where MLX wraps the exponent, it is the smallest one", arguments: InstructionSet.available)
  func smallest(set: InstructionSet) throws {
    // MLX stores 255, which is NaN, and 234.
    try expect([0x1.8p-126, -0x1p-127], .mxfp4, scale: 0, codes: [5, 10], on: set)
    try expect([7 * Float.leastNonzeroMagnitude], .mxfp4, scale: 0, codes: [0], on: set)
    try expect([0x1p-127, -0x1p-129], .mxfp8, scale: 0, codes: [56, 168], on: set)
  }

  @Test(
    "a value that is not finite is reported with its group (seed 702)",
    arguments: InstructionSet.available, ScaledMode.allCases)
  func nonFinite(set: InstructionSet, mode: ScaledMode) {
    var random = Seeded(702)
    let size = mode.groupSize
    let values = random.weights(21 * size)
    let kernel = ScaledKernel(mode, arithmetic: .bfloat16)
    for group in [0, 1, 7, 8, 15, 16, 20] {
      for position in [0, size / 2, size - 1] {
        for value: Float in [.nan, -.nan, .infinity, -.infinity] {
          var broken = values
          broken[group * size + position] = value
          broken[21 * size - 1] = .nan
          let fault = GroupFault(kind: .nonFiniteValue, group: group)
          #expect(kernel.encode(broken, on: set) == .failure(fault))
        }
      }
    }
  }

  @Test("numbers that are too large are reported", arguments: InstructionSet.available)
  func overflow(set: InstructionSet) {
    func isFault(_ value: Float, _ mode: ScaledMode, _ format: FloatFormat = .float32) -> Bool {
      var values = [Float](repeating: 1, count: 11 * mode.groupSize)
      values[9 * mode.groupSize + 3] = value
      let found = ScaledKernel(mode, arithmetic: format).encode(values, on: set)
      return found == .failure(GroupFault(kind: .parameterOverflow, group: 9))
    }
    // Up to 464, scales become 448.
    #expect(!isFault(2784, .nvfp4) && isFault((2784 as Float).nextUp, .nvfp4))
    #expect(!isFault(-2784, .nvfp4, .bfloat16) && isFault(-2816, .nvfp4, .bfloat16))
    // 4 · 2^126 and 256 · 2^120 are infinite.
    #expect(!isFault(0x1.cp127, .mxfp4) && isFault((0x1.cp127 as Float).nextUp, .mxfp4))
    #expect(!isFault((0x1.fp127 as Float).nextDown, .mxfp8) && isFault(-0x1.fp127, .mxfp8))
    #expect(!isFault(65504, .mxfp4, .float16) && !isFault(65504, .mxfp8, .float16))
  }
}
