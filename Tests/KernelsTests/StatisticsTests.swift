import Kernels
import TestSupport
import Testing

@Suite struct StatisticsTests {
  private func sum(_ values: [Double]) -> Double {
    var lanes = [Double](repeating: 0, count: 8)
    for (i, value) in values.enumerated() { lanes[i % 8] += value }
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6]))
      + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
  }

  private func twin(_ values: [Float]) -> ValueStatistics {
    var result = ValueStatistics()
    result.count = values.count
    for value in values {
      if value.isNaN {
        result.nanCount += 1
      } else if value.isInfinite {
        result.infinityCount += 1
      } else {
        if value.isTotallyOrdered(belowOrEqualTo: result.minimum) { result.minimum = value }
        if result.maximum.isTotallyOrdered(belowOrEqualTo: value) { result.maximum = value }
      }
    }
    let finite = values.map { $0.isFinite ? Double($0) : 0 }
    result.sum = sum(finite)
    result.sumOfSquares = sum(finite.map { $0 * $0 })
    return result
  }

  private func expectSame(_ a: ValueStatistics, _ b: ValueStatistics) {
    #expect(a == b)
    // Equality does not tell zeros apart.
    #expect(a.minimum.bitPattern == b.minimum.bitPattern)
    #expect(a.maximum.bitPattern == b.maximum.bitPattern)
  }

  private static let special: [Float] = [
    .nan, -.nan, .infinity, -.infinity, 0, -0.0, .leastNonzeroMagnitude, .greatestFiniteMagnitude,
    -.greatestFiniteMagnitude, Float(bitPattern: 0x7f80_0001),
  ]

  @Test("one pass finds what a plain loop finds (seed 81)", arguments: InstructionSet.available)
  func values(set: InstructionSet) {
    var random = Seeded(81)
    for count in Array(0...40) + [1001, 4096, 1 << 20, 1 << 20 | 5] {
      var values = random.weights(count, scale: 100)
      expectSame(ValueStatistics(values.span, on: set), twin(values))
      guard count < 5000 else { continue }
      for i in values.indices where random.next() % 3 == 0 {
        values[i] = Self.special[Int(random.next() % UInt64(Self.special.count))]
      }
      expectSame(ValueStatistics(values.span, on: set), twin(values))
    }
  }

  @Test("zeros keep their order and nothing is infinitely far", arguments: InstructionSet.available)
  func zeros(set: InstructionSet) {
    let zeros: [Float] = [0, -0.0, 0]
    let found = ValueStatistics(zeros.span, on: set)
    #expect(found.minimum.sign == .minus && found.maximum.sign == .plus)
    let none: [Float] = [.nan, .infinity]
    let nothing = ValueStatistics(none.span, on: set)
    #expect(nothing.minimum == .infinity && nothing.maximum == -.infinity)
    #expect(nothing.finiteCount == 0 && nothing.sum == 0)
  }

  @Test("merging spans counts everything once (seed 82)")
  func merging() {
    var random = Seeded(82)
    let values = random.weights(1000) + Self.special + [0.5]
    let whole = ValueStatistics(values.span)
    var merged = ValueStatistics()
    for start in stride(from: 0, to: values.count, by: 300) {
      merged.merge(ValueStatistics(Array(values[start..<min(start + 300, values.count)]).span))
    }
    #expect(merged.count == whole.count && merged.nanCount == whole.nanCount)
    #expect(merged.infinityCount == whole.infinityCount)
    #expect(merged.minimum == whole.minimum && merged.maximum == whole.maximum)
    #expect((merged.sumOfSquares / whole.sumOfSquares - 1).magnitude < 1e-12)
  }

  @Test("errors are what a plain loop finds (seed 83)", arguments: InstructionSet.available)
  func errors(set: InstructionSet) {
    var random = Seeded(83)
    for count in Array(0...40) + [1001, 65_537] {
      let values = random.weights(count, scale: 3)
      let reference = random.weights(count, scale: 2)
      let found = ErrorStatistics(of: values.span, from: reference.span, on: set)
      let differences = zip(values, reference).map { Double($0) - Double($1) }
      #expect(found.count == count)
      #expect(found.sumOfSquaredErrors == sum(differences.map { $0 * $0 }))
      #expect(found.sumOfSquares == sum(reference.map { Double($0) * Double($0) }))
      #expect(found.maximumError == zip(values, reference).map { ($0 - $1).magnitude }.max() ?? 0)
    }
  }

  @Test("errors of values that are not finite are not hidden", arguments: InstructionSet.available)
  func nonFiniteErrors(set: InstructionSet) {
    let reference = [Float](repeating: 1, count: 19)
    var values = reference
    values[17] = .infinity
    let infinite = ErrorStatistics(of: values.span, from: reference.span, on: set)
    #expect(infinite.maximumError == .infinity && infinite.sumOfSquaredErrors == .infinity)
    values[3] = -.nan
    var undefined = ErrorStatistics(of: values.span, from: reference.span, on: set)
    #expect(undefined.maximumError.bitPattern == Float.nan.bitPattern)
    #expect(undefined.sumOfSquaredErrors.bitPattern == Double.nan.bitPattern)
    #expect(undefined.sumOfSquares == 19)
    undefined.merge(infinite)
    #expect(undefined.maximumError.isNaN)
    var merged = infinite
    merged.merge(undefined)
    #expect(merged.maximumError.isNaN)
  }
}
