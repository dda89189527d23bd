import Kernels
import TestSupport
import Testing

@Suite struct GroupFaultTests {
  @Test(
    "a value that is not finite is reported with its group", arguments: InstructionSet.available,
    [1, 7, 32, 64, 100])
  func nonFinite(set: InstructionSet, size: Int) {
    var random = Seeded(101)
    let values = random.weights(80 * size)
    let kernel = GroupKernel(groupSize: size, bits: 4, parameters: .float16)
    let bad: [Float] = [
      .nan, -.nan, .infinity, -.infinity, Float(bitPattern: 0x7f80_0001),
      Float(bitPattern: 0xff80_0001),
    ]
    for group in [0, 1, 31, 32, 33, 63, 79] {
      for position in Set([0, size / 2, size - 1]) {
        for value in bad {
          var broken = values
          broken[group * size + position] = value
          broken[80 * size - 1] = .nan
          let fault = GroupFault(kind: .nonFiniteValue, group: group)
          #expect(kernel.minMax(broken, on: set) == .failure(fault))
          #expect(kernel.symmetric(broken, on: set) == .failure(fault))
        }
      }
    }
  }

  @Test("a parameter that overflows its format is reported", arguments: InstructionSet.available)
  func overflow(set: InstructionSet) {
    func fault(
      _ group: [Float], _ format: FloatFormat, bits: Int = 4
    ) -> (minMax: GroupFault.Kind?, symmetric: GroupFault.Kind?) {
      let kernel = GroupKernel(groupSize: 8, bits: bits, parameters: format)
      let quiet = [Float](repeating: 1, count: 8 * 40)
      let values = quiet + group + quiet
      func kind(_ result: Result<GroupTwin.Encoded, GroupFault>) -> GroupFault.Kind? {
        guard case .failure(let fault) = result else { return nil }
        #expect(fault.group == 40)
        return fault.kind
      }
      return (kind(kernel.minMax(values, on: set)), kind(kernel.symmetric(values, on: set)))
    }
    // The bias is just too large for float16, then just small enough.
    let high = (0..<8).map { 65520 + Float($0) }
    #expect(fault(high, .float16) == (.parameterOverflow, nil))
    #expect(fault([65519] + high[1...], .float16) == (nil, nil))
    // The scale is too large for float16.
    let million: [Float] = [0, 0, 0, 0, 0, 0, 0, 1e6]
    #expect(fault(million, .float16) == (.parameterOverflow, .parameterOverflow))
    #expect(fault(million, .bfloat16) == (nil, nil))
    // The range, the bias or the scale is too large for float32 or bfloat16.
    let most = Float.greatestFiniteMagnitude
    let one: [Float] = [most, 0, 0, 0, 0, 0, 0, 0]
    #expect(fault([-most] + one[..<7], .float32) == (.parameterOverflow, nil))
    #expect(fault([Float](repeating: -most, count: 8), .bfloat16) == (.parameterOverflow, nil))
    #expect(fault(one, .bfloat16, bits: 1) == (.parameterOverflow, .parameterOverflow))
    #expect(fault(one, .float32) == (nil, nil))
  }

  @Test("the first fault is reported, whatever its kind", arguments: InstructionSet.available)
  func order(set: InstructionSet) {
    let kernel = GroupKernel(groupSize: 8, bits: 4, parameters: .float16)
    var values = [Float](repeating: 1, count: 8 * 3)
    values[8] = 1e30
    values[16] = .nan
    #expect(kernel.minMax(values, on: set) == .failure(.init(kind: .parameterOverflow, group: 1)))
    values[9] = .nan
    #expect(kernel.minMax(values, on: set) == .failure(.init(kind: .nonFiniteValue, group: 1)))
  }
}
