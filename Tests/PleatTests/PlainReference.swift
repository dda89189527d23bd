/// Reference results, computed in doubles without optimization.
enum PlainReference {
  /// The expected `TensorStatistics` of some values.
  struct Statistics {
    var minimum: Float = 0
    var maximum: Float = 0
    var mean = 0.0
    var deviation = 0.0
    var nanCount = 0
    var infinityCount = 0
    var histogram = [Int](repeating: 0, count: 16)

    init(_ values: [Float]) {
      nanCount = values.count { $0.isNaN }
      infinityCount = values.count { $0.isInfinite }
      let finite = values.filter(\.isFinite)
      guard let least = finite.min(), let most = finite.max() else { return }
      (minimum, maximum) = (least, most)
      mean = finite.reduce(0) { $0 + Double($1) } / Double(finite.count)
      let squares = finite.reduce(0) { $0 + (Double($1) - mean) * (Double($1) - mean) }
      deviation = (squares / Double(finite.count)).squareRoot()
      let width = (Double(most) - Double(least)) / 16
      for value in finite {
        let bin = width > 0 ? Int((Double(value) - Double(least)) / width) : 0
        histogram[min(15, bin)] += 1
      }
    }
  }

  /// ‖values − reference‖ / ‖reference‖, and the largest absolute difference.
  static func error(of values: [Float], from reference: [Float]) -> (
    relative: Double, largest: Double
  ) {
    precondition(values.count == reference.count, "expected one reference for each value")
    var (errors, squares, largest) = (0.0, 0.0, 0.0)
    for (value, expected) in zip(values, reference) {
      let difference = Double(value) - Double(expected)
      errors += difference * difference
      squares += Double(expected) * Double(expected)
      largest = max(largest, difference.magnitude)
    }
    return (errors == 0 ? 0 : (errors / squares).squareRoot(), largest)
  }
}

/// Whether two numbers are equal up to a relative tolerance.
///
/// The default allows for another order of additions.
func areClose(_ left: Double, _ right: Double, _ tolerance: Double = 1e-9) -> Bool {
  left == right
    || (left - right).magnitude <= tolerance * max(left.magnitude, right.magnitude, 1e-300)
}
