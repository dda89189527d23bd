import Kernels
import TestSupport
import Testing

@Suite struct ZeroPointTests {
  @Test(
    "zero-point encoding matches its plain twin (seed 111)", arguments: InstructionSet.available,
    GroupTests.groupSizes)
  func twin(set: InstructionSet, size: Int) {
    let values = GroupTests.groups(of: size, seed: 111)
    for bits in 1...8 {
      for format in GroupTests.formats {
        let kernel = GroupKernel(groupSize: size, bits: bits, parameters: format)
        let twin = GroupTwin(groupSize: size, bits: bits, parameters: format)
        #expect(
          kernel.zeroPoint(values, on: set) == twin.zeroPoint(values), "\(bits) bits, \(format)")
      }
    }
  }

  private func expect(
    _ values: [Float], bits: Int, _ format: FloatFormat = .float32, scale: Float, zero: Float,
    codes: [UInt8], decoded: [Float], on set: InstructionSet,
    at location: SourceLocation = #_sourceLocation
  ) throws {
    let kernel = GroupKernel(groupSize: values.count, bits: bits, parameters: format)
    let found = try kernel.zeroPoint(values, on: set).get()
    #expect(
      found == .init(codes: codes, scales: [scale.bitPattern], zeros: [zero.bitPattern]),
      sourceLocation: location)
    #expect(kernel.decode(found, on: set) == decoded, sourceLocation: location)
  }

  @Test("groups match values computed by hand", arguments: InstructionSet.available)
  func byHand(set: InstructionSet) throws {
    // (6 + 1.5) / 15 = 0.5 and 1.5 / 0.5 = 3. Halves round to even, before zero is added.
    try expect(
      [-1.5, 6, 0, 0.25, 0.75, 1, -0.25, 3.3], bits: 4, scale: 0.5, zero: 3,
      codes: [0, 15, 3, 3, 5, 5, 3, 10], decoded: [-1.5, 6, 0, 0, 1, 1, 0, 3.5], on: set)
    // The range is extended to zero on either side.
    try expect(
      [3, 1.5, 0.5, 2.5], bits: 2, scale: 1, zero: 0, codes: [3, 2, 0, 2], decoded: [3, 2, 0, 2],
      on: set)
    try expect(
      [-3, -1, -2.5, -0.5], bits: 2, scale: 1, zero: 3, codes: [0, 2, 1, 3],
      decoded: [-3, -1, -2, 0], on: set)
    // 256 / 255 as bfloat16 is 1 + 2^-7. 128 divided by it is 127.008, and not 127.5.
    try expect(
      [-128, 128, 0], bits: 8, .bfloat16, scale: 1.0078125, zero: 127, codes: [0, 254, 127],
      decoded: [-127.9921875, 127.9921875, 0], on: set)
    // 37.5 / 15 = 2.5 rounds to 2, so the code of -37.5 is -2 + 2. 37.5 times the reciprocal of 15
    // would be just above 2.5.
    try expect(
      [-37.5, 67.5, 15], bits: 3, scale: 15, zero: 2, codes: [0, 6, 3], decoded: [-30, 60, 15],
      on: set)
    // A group of zeros gets the range -1 to 1. 2 / 3 as float16 is 1365 / 2048, and 1 divided by it
    // rounds to 2.
    try expect(
      [0, -0.0], bits: 2, .float16, scale: 1365 / 2048, zero: 2, codes: [2, 2], decoded: [0, 0],
      on: set)
    try expect([0, 0], bits: 1, scale: 2, zero: 0, codes: [0, 0], decoded: [0, 0], on: set)
  }

  @Test(
    "only a scale of zero makes all values zero",
    arguments: InstructionSet.available)
  func smallScale(set: InstructionSet) throws {
    try expect(
      [-0x1p-149, 0, 0x1p-149], bits: 4, scale: 0, zero: 0, codes: [0, 0, 0], decoded: [0, 0, 0],
      on: set)
    try expect(
      [-15 * 0x1p-130, 0], bits: 4, scale: 0x1p-130, zero: 15, codes: [0, 15],
      decoded: [-15 * 0x1p-130, 0], on: set)
    try expect(
      [-1e-8, 1e-8], bits: 4, .float16, scale: 0, zero: 0, codes: [0, 0], decoded: [0, 0], on: set)
  }

  @Test("zero is exact (seed 112)", arguments: InstructionSet.available)
  func zero(set: InstructionSet) throws {
    for size in [7, 32] {
      var values = GroupTests.groups(of: size, seed: 112)
      for i in stride(from: 3, to: values.count, by: size) { values[i] = 0 }
      for bits in 1...8 {
        let kernel = GroupKernel(groupSize: size, bits: bits, parameters: .float16)
        let decoded = kernel.decode(try kernel.zeroPoint(values, on: set).get(), on: set)
        for i in stride(from: 3, to: values.count, by: size) { #expect(decoded[i] == 0) }
      }
    }
  }

  @Test(
    "decoding multiplies the difference of code and zero point (seed 113)",
    arguments: InstructionSet.available,
    GroupTests.groupSizes)
  func decoding(set: InstructionSet, size: Int) {
    var random = Seeded(113)
    let groups = 37
    let codes = random.codes(groups * size, bits: 8)
    var scales = random.weights(groups)
    var zeros = (0..<groups).map { _ in Float(random.below(270) - 7) }
    (scales[0], scales[1], scales[2]) = (-0.0, .infinity, -3)
    (zeros[2], zeros[3], zeros[4]) = (Float(codes[2 * size]), 0, 256)
    let kernel = GroupKernel(groupSize: size, bits: 8, parameters: .float32)
    let found = kernel.decode(.init(codes: codes, scales: scales.bits, zeros: zeros.bits), on: set)
    for i in codes.indices {
      let expected = scales[i / size] * Float(Int(codes[i]) - Int(zeros[i / size]))
      #expect(found[i].bitPattern == expected.bitPattern || (found[i].isNaN && expected.isNaN))
    }
    #expect(found[2 * size].bitPattern == Float(-0.0).bitPattern)
  }

  @Test(
    "a value that is not finite is reported with its group (seed 114)",
    arguments: InstructionSet.available, [1, 7, 32, 64, 100])
  func nonFinite(set: InstructionSet, size: Int) {
    var random = Seeded(114)
    let values = random.weights(80 * size)
    let kernel = GroupKernel(groupSize: size, bits: 4, parameters: .float16)
    for group in [0, 1, 31, 32, 33, 63, 79] {
      for position in Set([0, size / 2, size - 1]) {
        for value: Float in [.nan, -.nan, .infinity, -.infinity] {
          var broken = values
          broken[group * size + position] = value
          broken[80 * size - 1] = .nan
          let fault = GroupFault(kind: .nonFiniteValue, group: group)
          #expect(kernel.zeroPoint(broken, on: set) == .failure(fault))
        }
      }
    }
  }

  @Test("a scale that overflows its format is reported", arguments: InstructionSet.available)
  func overflow(set: InstructionSet) {
    func fault(_ group: [Float], _ format: FloatFormat, bits: Int = 4) -> GroupFault? {
      let kernel = GroupKernel(groupSize: 2, bits: bits, parameters: format)
      let quiet = [Float](repeating: 1, count: 2 * 40)
      guard case .failure(let fault) = kernel.zeroPoint(quiet + group + quiet, on: set) else {
        return nil
      }
      return fault
    }
    let found = GroupFault(kind: .parameterOverflow, group: 40)
    let most = Float.greatestFiniteMagnitude
    #expect(fault([1e6, 1e6], .float16) == found)
    #expect(fault([1e6, 1e6], .bfloat16) == nil)
    // 65520 is the first value that overflows float16.
    #expect(fault([-65520, 0], .float16, bits: 1) == found)
    #expect(fault([-65519, 0], .float16, bits: 1) == nil)
    #expect(fault([-most, most], .float32) == found)
    #expect(fault([-most, 0], .float32, bits: 1) == nil)
    #expect(fault([-most, 0], .bfloat16, bits: 1) == found)
    #expect(fault([1e6, 1e6, .nan, 1], .float16) == found)
  }

  @Test("encoding no values succeeds", arguments: InstructionSet.available)
  func empty(set: InstructionSet) throws {
    let kernel = GroupKernel(groupSize: 64, bits: 4, parameters: .float16)
    #expect(try kernel.zeroPoint([], on: set).get() == GroupTwin.Encoded())
    let (codes, scales, zeros): ([UInt8], [Float], [Float]) = ([], [], [])
    var values: [Float] = []
    var span = values.mutableSpan
    kernel.decode(codes.span, scales: scales.span, zeros: zeros.span, into: &span, on: set)
    #expect(values.isEmpty)
  }
}
