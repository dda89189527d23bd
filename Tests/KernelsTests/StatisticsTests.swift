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
    // `==` does not distinguish −0 from +0.
    #expect(a.minimum.bitPattern == b.minimum.bitPattern)
    #expect(a.maximum.bitPattern == b.maximum.bitPattern)
  }

  private static let special: [Float] = [
    .nan, -.nan, .infinity, -.infinity, 0, -0.0, .leastNonzeroMagnitude, .greatestFiniteMagnitude,
    -.greatestFiniteMagnitude, Float(bitPattern: 0x7f80_0001),
  ]

  @Test("statistics match a plain loop (seed 81)", arguments: InstructionSet.available)
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

  @Test("the largest magnitude is found at any position", arguments: InstructionSet.available)
  func magnitudes(set: InstructionSet) {
    for count in 1...40 {
      for position in 0..<count {
        var values = (0..<count).map { Float($0 % 3) - 1 }
        for largest in [-7, 7, .greatestFiniteMagnitude, .infinity, -.infinity] as [Float] {
          values[position] = largest
          #expect(largestMagnitude(values.span, on: set) == largest.magnitude)
        }
        for nan in [.nan, -.nan, Float(bitPattern: 0x7f80_0001)] as [Float] {
          values[position] = nan
          values[0] = position > 0 ? .infinity : nan
          #expect(largestMagnitude(values.span, on: set).isNaN)
        }
      }
    }
    let none: [Float] = []
    #expect(largestMagnitude(none.span, on: set) == 0)
    let zeros: [Float] = [-0.0, -0.0]
    #expect(largestMagnitude(zeros.span, on: set).bitPattern == 0)
  }

  @Test(
    "zeros are ordered by sign, and no values have infinite extremes",
    arguments: InstructionSet.available)
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

  @Test("errors match a plain loop (seed 83)", arguments: InstructionSet.available)
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

  @Test(
    "values that are not finite give errors that are not finite",
    arguments: InstructionSet.available)
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

  private func updateTwin(_ values: [Float], _ base: [Float], _ delta: [Float]) -> [UInt64] {
    func one(_ value: Double) -> UInt64 { (value.isNaN ? .nan : value).bitPattern }
    let errors = values.indices.map { Double(values[$0]) - Double(base[$0]) - Double(delta[$0]) }
    let most = errors.reduce(0) { $0.isNaN || $1.isNaN ? .nan : max($0, $1.magnitude) }
    return [
      one(sum(errors.map { $0 * $0 })), one(sum(delta.map { Double($0) * Double($0) })), one(most),
    ]
  }

  private func bits(_ found: UpdateStatistics) -> [UInt64] {
    [found.sumOfSquaredErrors, found.sumOfSquares, found.maximumError].map(\.bitPattern)
  }

  @Test(
    "the loss of an update matches a plain loop (seed 84)", arguments: InstructionSet.available)
  func updates(set: InstructionSet) {
    var random = Seeded(84)
    for count in Array(0...40) + [1001, 65_537] {
      let base = random.weights(count, scale: 3)
      var delta = random.weights(count, scale: 0x1p-20)
      var values = zip(base, delta).map { $0 + $1 }
      let found = UpdateStatistics(of: values.span, base: base.span, delta: delta.span, on: set)
      #expect(found.count == count)
      #expect(bits(found) == updateTwin(values, base, delta))
      guard count < 5000 else { continue }
      for i in values.indices where random.below(40) == 0 {
        let special = Self.special[random.below(Self.special.count)]
        if random.below(2) == 0 { values[i] = special } else { delta[i] = special }
      }
      let broken = UpdateStatistics(of: values.span, base: base.span, delta: delta.span, on: set)
      #expect(bits(broken) == updateTwin(values, base, delta))
    }
  }

  @Test(
    "the differences of an update are not rounded to float32", arguments: InstructionSet.available)
  func updateInDouble(set: InstructionSet) {
    // 1 + 2^-30 is 1 in float32: the first value loses its whole update, the second loses nothing.
    let (values, base, delta): ([Float], [Float], [Float]) = ([1, 3], [1, 2], [0x1p-30, 1])
    let found = UpdateStatistics(of: values.span, base: base.span, delta: delta.span, on: set)
    #expect(found.sumOfSquaredErrors == 0x1p-60 && found.maximumError == 0x1p-30)
    #expect(found.sumOfSquares == 1 + 0x1p-60 && found.count == 2)
  }

  @Test(
    "updates that are not finite give errors that are not finite",
    arguments: InstructionSet.available)
  func nonFiniteUpdates(set: InstructionSet) {
    let base = [Float](repeating: 1, count: 19)
    let delta = [Float](repeating: 0.5, count: 19)
    func found(value: Float = 1.5, base b: Float = 1, delta d: Float = 0.5) -> UpdateStatistics {
      for position in [0, 7, 8, 17, 18] {
        var (values, base, delta) = (zip(base, delta).map { $0 + $1 }, base, delta)
        (values[position], base[position], delta[position]) = (value, b, d)
        let found = UpdateStatistics(of: values.span, base: base.span, delta: delta.span, on: set)
        #expect(bits(found) == updateTwin(values, base, delta))
        if position == 18 { return found }
      }
      return UpdateStatistics()
    }
    let infinite = found(value: -.infinity)
    #expect(infinite.maximumError == .infinity && infinite.sumOfSquaredErrors == .infinity)
    #expect(found(base: .infinity).sumOfSquaredErrors == .infinity)
    #expect(found(delta: -.infinity).sumOfSquares == .infinity)
    for undefined in [
      found(value: -.nan), found(base: .nan), found(delta: .nan),
      found(value: .infinity, delta: .infinity),
    ] {
      #expect(undefined.sumOfSquaredErrors.isNaN && undefined.maximumError.isNaN)
      var first = undefined
      first.merge(infinite)
      #expect(first.maximumError.isNaN && first.sumOfSquaredErrors.isNaN)
      var second = infinite
      second.merge(undefined)
      #expect(second.maximumError.isNaN && second.count == 38)
    }
  }

  @Test("merging adds the losses of updates (seed 85)")
  func mergingUpdates() {
    var random = Seeded(85)
    var merged = UpdateStatistics()
    var expected = UpdateStatistics()
    for _ in 0..<3 {
      let (values, base, delta) = (random.weights(50), random.weights(50), random.weights(50))
      let next = UpdateStatistics(of: values.span, base: base.span, delta: delta.span)
      merged.merge(next)
      expected.count += 50
      expected.sumOfSquaredErrors += next.sumOfSquaredErrors
      expected.sumOfSquares += next.sumOfSquares
      expected.maximumError = max(expected.maximumError, next.maximumError)
    }
    #expect(merged == expected && merged.count == 150)
    let before = merged
    merged.merge(UpdateStatistics())
    #expect(merged == before)
  }
}
