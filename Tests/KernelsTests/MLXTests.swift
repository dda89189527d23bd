import Kernels
import TestSupport
import Testing

@Suite struct MLXTests {
  @Test(
    "MLX encoding matches its plain twin (seed 121)", arguments: InstructionSet.available,
    GroupTests.groupSizes)
  func twin(set: InstructionSet, size: Int) throws {
    var random = Seeded(121)
    var values = GroupTests.groups(of: size, seed: 121)
    // A constant group has no range. It is up to 10^7 steps of 1e-7 from zero, which exceeds 2^23.
    for _ in 0..<64 {
      let constant = Float.random(in: -1...1, using: &random)
      values += [Float](repeating: constant, count: size)
    }
    for bits in 1...8 {
      for format in GroupTests.formats {
        let kernel = GroupKernel(groupSize: size, bits: bits, parameters: format)
        let twin = GroupTwin(groupSize: size, bits: bits, parameters: format)
        let expected = try twin.mlx(values).get()
        #expect(kernel.mlx(values, on: set) == .success(expected), "\(bits) bits, \(format)")
      }
    }
  }

  private func expect(
    _ values: [Float], bits: Int, _ format: FloatFormat = .float32, scale: Float, bias: Float,
    codes: [UInt8], on set: InstructionSet, at location: SourceLocation = #_sourceLocation
  ) throws {
    let kernel = GroupKernel(groupSize: values.count, bits: bits, parameters: format)
    let found = try kernel.mlx(values, on: set).get()
    let expected = GroupTwin.Encoded(
      codes: codes, scales: [scale.bitPattern], biases: [bias.bitPattern])
    #expect(found == expected, sourceLocation: location)
  }

  @Test("groups match values computed by hand", arguments: InstructionSet.available)
  func byHand(set: InstructionSet) throws {
    // 7.5 / 15 = 0.5, from 6 down. -0.25, 0.25 and 0.75 are half way, and round to even codes.
    try expect(
      [-1.5, 6, 0, 0.25, 0.75, 1, -0.25, 3.3], bits: 4, scale: -0.5, bias: 6,
      codes: [15, 0, 12, 12, 10, 10, 12, 5], on: set)
    try expect(
      [1.5, -6, 0, -0.25, -0.75, -1, 0.25, -3.3], bits: 4, scale: 0.5, bias: -6,
      codes: [15, 0, 12, 12, 10, 10, 12, 5], on: set)
    // Of two values of equal magnitude the larger one is the edge. 1 is 1.5 steps of 2/3. It
    // becomes 2 steps of 0.5, and -1 would have code 4.
    try expect([-1, 1, 0, 0.5], bits: 2, scale: -0.5, bias: 1, codes: [3, 0, 2, 1], on: set)
    // 98.25 / (100 / 255) = 250.54. The rounded scale would give 250.27.
    try expect(
      [100, 0, 1.75], bits: 8, .bfloat16, scale: -0.392578125, bias: 100, codes: [0, 255, 251],
      on: set)
    // 2049.25 is 3 steps from 2051.5. From the rounded bias 2052 it would be almost 4.
    try expect(
      [2051.5, 2049.25, 2040.25], bits: 4, .float16, scale: -0.75, bias: 2052, codes: [0, 3, 15],
      on: set)
  }

  @Test(
    "groups without a range have steps of 1e-7, as in MLX", arguments: InstructionSet.available)
  func smallSteps(set: InstructionSet) throws {
    // These scales, biases and codes are from mx.quantize of mlx 0.32.4.
    try expect([0, -0.0], bits: 4, scale: -1e-7, bias: 0, codes: [0, 0], on: set)
    try expect([0, -0.0], bits: 4, .float16, scale: -0x1p-23, bias: 0, codes: [0, 0], on: set)
    for constant: Float in [0.375, -0.375] {
      try expect(
        [constant, constant], bits: 4, scale: -1e-7, bias: constant, codes: [0, 0], on: set)
    }
    try expect(
      [4e-8, -3e-8, 6e-8], bits: 4, scale: -6e-8, bias: 6e-8, codes: [0, 2, 0], on: set)
    try expect(
      [1000, 1000.5, 1000.25], bits: 4, scale: -0x1.111112p-5, bias: 1000.5, codes: [15, 0, 7],
      on: set)
    // The number of steps overflows to infinity.
    for format in [FloatFormat.bfloat16, .float32] {
      try expect(
        [0x1p120, 0x1p120], bits: 5, format, scale: -0.0, bias: 0x1p120, codes: [0, 0], on: set)
    }
  }

  @Test(
    "the value of largest magnitude has code 0, and negation keeps all codes (seed 122)",
    arguments: InstructionSet.available, [7, 32, 64, 128])
  func laws(set: InstructionSet, size: Int) throws {
    var random = Seeded(122)
    let values = random.weights(200 * size)
    for bits in 2...8 {
      for format in GroupTests.formats {
        let kernel = GroupKernel(groupSize: size, bits: bits, parameters: format)
        let twin = GroupTwin(groupSize: size, bits: bits, parameters: format)
        let found = try kernel.mlx(values, on: set).get()
        for (k, group) in twin.groups(values).enumerated() {
          let index = try #require(group.indices.max { group[$0].magnitude < group[$1].magnitude })
          #expect(found.codes[index] == 0)
          #expect(found.biases[k] == twin.rounded(group[index]).bitPattern)
        }
        let negated = try kernel.mlx(values.map { -$0 }, on: set).get()
        #expect(negated.codes == found.codes)
        #expect(negated.scales == found.scales.map { $0 ^ 0x8000_0000 })
        #expect(negated.biases == found.biases.map { $0 ^ 0x8000_0000 })
      }
    }
  }

  @Test(
    "a value that is not finite is reported with its group (seed 123)",
    arguments: InstructionSet.available, [1, 7, 32, 64, 100])
  func nonFinite(set: InstructionSet, size: Int) {
    var random = Seeded(123)
    let values = random.weights(80 * size)
    let kernel = GroupKernel(groupSize: size, bits: 4, parameters: .float16)
    for group in [0, 1, 31, 32, 33, 63, 79] {
      for position in Set([0, size / 2, size - 1]) {
        for value: Float in [.nan, -.nan, .infinity, -.infinity] {
          var broken = values
          broken[group * size + position] = value
          broken[80 * size - 1] = .nan
          let fault = GroupFault(kind: .nonFiniteValue, group: group)
          #expect(kernel.mlx(broken, on: set) == .failure(fault))
        }
      }
    }
  }

  @Test("a parameter that overflows its format is reported", arguments: InstructionSet.available)
  func overflow(set: InstructionSet) {
    func fault(_ group: [Float], _ format: FloatFormat) -> GroupFault? {
      let kernel = GroupKernel(groupSize: 2, bits: 4, parameters: format)
      let quiet = [Float](repeating: 1, count: 2 * 40)
      guard case .failure(let fault) = kernel.mlx(quiet + group + quiet, on: set) else {
        return nil
      }
      return fault
    }
    let found = GroupFault(kind: .parameterOverflow, group: 40)
    let most = Float.greatestFiniteMagnitude
    // 65520 is the first value that overflows float16.
    #expect(fault([65520, 0], .float16) == found)
    #expect(fault([-65519, 0], .float16) == nil)
    #expect(fault([-65520, 0], .bfloat16) == nil)
    #expect(fault([-most, most], .float32) == found)
    #expect(fault([-most, 0], .float32) == nil)
    #expect(fault([-most, 0], .bfloat16) == found)
    #expect(fault([1e6, 1e6, .nan, 1], .float16) == found)
  }

  @Test("encoding no values succeeds", arguments: InstructionSet.available)
  func empty(set: InstructionSet) throws {
    let kernel = GroupKernel(groupSize: 64, bits: 4, parameters: .float16)
    #expect(try kernel.mlx([], on: set).get() == GroupTwin.Encoded())
  }
}
