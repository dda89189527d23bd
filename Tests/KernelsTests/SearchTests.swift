import Kernels
import TensorModel
import TestSupport
import Testing

@Suite struct SearchTests {
  private static let kinds: [SearchTwin.Kind] = [.bias, .none, .zeroPoint]
  // Groups of 512 and more are spread over eight lanes.
  private static let sizes = [1, 7, 32, 33, 128, 520, 1024]

  /// Groups of many kinds whose standard encoding does not overflow.
  private static func values(_ kernel: GroupKernel, seed: UInt64) -> [Float] {
    let values = GroupTests.groups(of: kernel.groupSize, seed: seed)
    let twin = GroupTwin(kernel)
    return twin.groups(values).filter { group in
      [twin.minMax(Array(group)), twin.symmetric(Array(group)), twin.zeroPoint(Array(group))]
        .allSatisfy { if case .success = $0 { true } else { false } }
    }.flatMap { $0 }
  }

  /// Weights for rows of three groups: all equal, of very different size, or partly zero.
  private static func weights(_ size: Int, seed: UInt64) -> [[Float]] {
    var random = Seeded(seed)
    let wide = random.weights(3 * size, scale: 100).map(\.magnitude)
    var sparse = random.weights(3 * size, scale: 1e-3).map { $0 < 0 ? 0 : $0 }
    for i in 0..<size { sparse[i] = 0 }
    return [[], wide, sparse]
  }

  /// The squared error of each group, in double precision.
  private static func errors(
    _ encoded: GroupTwin.Encoded, _ values: [Float], _ twin: SearchTwin, _ kind: SearchTwin.Kind
  ) -> [Double] {
    twin.kernel.groups(values).enumerated().map { k, group in
      let weights = twin.weights(ofGroup: k)
      let scale = Double(Float(bitPattern: encoded.scales[k]))
      let bias = kind == .bias ? Double(Float(bitPattern: encoded.biases[k])) : 0
      let zero: Double =
        switch kind {
        case .bias: 0
        case .none: Double(1 << (twin.kernel.bits - 1))
        case .zeroPoint: Double(Float(bitPattern: encoded.zeros[k]))
        }
      return group.enumerated().reduce(0) { sum, item in
        let code = Double(encoded.codes[k * twin.kernel.groupSize + item.offset])
        let error = Double(item.element) - (scale * (code - zero) + bias)
        return sum + error * error * Double(weights?[item.offset] ?? 1)
      }
    }
  }

  @Test(
    "searching matches its plain twin (seed 131)", arguments: InstructionSet.available, sizes)
  func twin(set: InstructionSet, size: Int) {
    for (index, bits) in [1, 2, 3, 4, 5, 6, 8].enumerated() {
      for (number, format) in GroupTests.formats.enumerated() {
        let kernel = GroupKernel(groupSize: size, bits: bits, parameters: format)
        let values = Self.values(kernel, seed: 131)
        let effort = Effort.allCases[(index + number) % 3]
        let weights = Self.weights(size, seed: 132)[(index + 2 * number) % 3]
        let twin = SearchTwin(kernel: GroupTwin(kernel), effort: effort, weights: weights)
        for kind in Self.kinds {
          #expect(
            kernel.search(kind, values, weights, effort, on: set) == twin.search(kind, values),
            "\(kind), \(bits) bits, \(format), \(effort)")
        }
      }
    }
  }

  @Test(
    "no group is worse than with the standard encoding or with less effort (seed 133)",
    arguments: GroupTests.formats, [16, 33, 256, 520])
  func neverWorse(format: FloatFormat, size: Int) throws {
    for bits in [1, 2, 3, 4, 5, 6, 8] {
      let kernel = GroupKernel(groupSize: size, bits: bits, parameters: format)
      let values = Self.values(kernel, seed: 133)
      for weights in Self.weights(size, seed: 134) {
        let twin = SearchTwin(kernel: GroupTwin(kernel), effort: .default, weights: weights)
        for kind in Self.kinds {
          var last = Self.errors(
            try kernel.standard(kind, values).get(), values, twin, kind)
          for effort in Effort.allCases {
            let found = Self.errors(
              try kernel.search(kind, values, weights, effort, on: .best).get(), values, twin, kind)
            // The order of the sums differs.
            #expect(
              zip(found, last).allSatisfy { $0 <= $1 * (1 + 1e-12) },
              "\(kind), \(bits) bits, \(effort)")
            last = found
          }
        }
      }
    }
  }

  @Test("the error of ordinary weights becomes much smaller (seed 135)")
  func gain() throws {
    var random = Seeded(135)
    let values = (0..<1 << 15).map { _ in
      (0..<8).reduce(Float(0)) { sum, _ in sum + Float(random.below(1000)) / 1000 - 0.5 }
    }
    // At most this part of the error is left.
    for (bits, parts) in [
      (2, [0.79, 0.94, 0.86]), (3, [0.88, 0.95, 0.95]), (4, [0.91, 0.97, 0.98]),
    ] {
      let kernel = GroupKernel(groupSize: 32, bits: bits, parameters: .float16)
      let twin = SearchTwin(kernel: GroupTwin(kernel), effort: .default, weights: [])
      for (kind, part) in zip(Self.kinds, parts) {
        let standard = Self.errors(try kernel.standard(kind, values).get(), values, twin, kind)
        let found = Self.errors(
          try kernel.search(kind, values, [], .default, on: .best).get(), values, twin, kind)
        let left = (found.reduce(0, +) / standard.reduce(0, +)).squareRoot()
        #expect(left < part, "\(kind), \(bits) bits")
      }
    }
  }

  @Test("equal values are encoded as without a search", arguments: InstructionSet.available)
  func constants(set: InstructionSet) throws {
    for value: Float in [0, -0.0, 1, -0.375, 0.1, 65504, 1e-30] {
      let values = [Float](repeating: value, count: 64)
      let kernel = GroupKernel(groupSize: 32, bits: 4, parameters: .float16)
      let found = try kernel.search(.bias, values, [], .best, on: set).get()
      #expect(try found == kernel.minMax(values, on: set).get())
    }
  }

  @Test(
    "faults are those of the standard encoding", arguments: InstructionSet.available, [32, 512])
  func faults(set: InstructionSet, size: Int) {
    let kernel = GroupKernel(groupSize: size, bits: 4, parameters: .float16)
    for (value, fault) in [
      (Float.nan, GroupFault.Kind.nonFiniteValue), (-.infinity, .nonFiniteValue),
      (1e30, .parameterOverflow),
    ] {
      var values = [Float](repeating: 0.5, count: 12 * size)
      values[10 * size + 3] = value
      for kind in Self.kinds {
        #expect(
          kernel.search(kind, values, [], .fast, on: set)
            == .failure(GroupFault(kind: fault, group: 10)))
      }
    }
  }

  @Test("searching no values succeeds", arguments: InstructionSet.available)
  func empty(set: InstructionSet) throws {
    let kernel = GroupKernel(groupSize: 64, bits: 4, parameters: .float16)
    for kind in Self.kinds {
      #expect(try kernel.search(kind, [], [], .default, on: set).get() == GroupTwin.Encoded())
    }
  }
}

extension GroupTwin {
  init(_ kernel: GroupKernel) {
    self.init(groupSize: kernel.groupSize, bits: kernel.bits, parameters: kernel.parameters)
  }
}

extension GroupKernel {
  func standard(
    _ kind: SearchTwin.Kind, _ values: [Float]
  ) -> Result<GroupTwin.Encoded, GroupFault> {
    switch kind {
    case .bias: minMax(values, on: .best)
    case .none: symmetric(values, on: .best)
    case .zeroPoint: zeroPoint(values, on: .best)
    }
  }

  func search(
    _ kind: SearchTwin.Kind, _ values: [Float], _ weights: [Float], _ effort: Effort,
    on set: InstructionSet
  ) -> Result<GroupTwin.Encoded, GroupFault> {
    var codes = [UInt8](repeating: 0xaa, count: values.count)
    var scales = [Float](repeating: .nan, count: values.count / groupSize)
    var offsets = scales
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    var offsetSpan = offsets.mutableSpan
    do throws(GroupFault) {
      switch kind {
      case .bias:
        try searchAffine(
          values.span, weights: weights.span, effort: effort, codes: &codeSpan,
          scales: &scaleSpan, biases: &offsetSpan, on: set)
        return .success(.init(codes: codes, scales: scales.bits, biases: offsets.bits))
      case .none:
        try searchSymmetric(
          values.span, weights: weights.span, effort: effort, codes: &codeSpan,
          scales: &scaleSpan, on: set)
        return .success(.init(codes: codes, scales: scales.bits))
      case .zeroPoint:
        try searchZeroPoint(
          values.span, weights: weights.span, effort: effort, codes: &codeSpan,
          scales: &scaleSpan, zeros: &offsetSpan, on: set)
        return .success(.init(codes: codes, scales: scales.bits, zeros: offsets.bits))
      }
    } catch {
      return .failure(error)
    }
  }
}
