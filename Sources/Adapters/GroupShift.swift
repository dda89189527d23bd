package import TensorModel

/// Moves the offsets of groups: every weight of a group changes by the same number, and no code does.
///
/// With w = scale · code + bias that number goes to the bias. With w = scale · (code − zero) the
/// zero moves by −δ / scale, rounded to a whole number (arXiv 2309.14717, algorithm 1).
package enum GroupShift {
  /// How often a code of `source` bits fits into one of `target` bits; 1 for equal bits.
  package static func factor(from source: Int, to target: Int) -> Int {
    source == target ? 1 : ((1 << target) - 1) / ((1 << source) - 1)
  }

  /// Fills `target` with the groups of `source`, moved.
  ///
  /// - Parameters:
  ///   - delta: rows × adapter groups: what is added to every weight of a group. The groups of the
  ///     rows divide those of the adapter.
  ///   - source: The groups as they are.
  ///   - target: As many rows; the offset is a bias, or a zero point where the source has none or
  ///     one. Its biases and scales are not rounded to their type yet.
  package static func apply(_ delta: [Float], to source: GroupedRows, into target: GroupedRows) {
    let factor = factor(from: source.grouping.bits, to: target.grouping.bits)
    if factor == 1 {
      target.codes = source.codes
    } else {
      let factor = UInt8(factor)
      target.codes = source.codes.map { $0 &* factor }
    }
    let ratio = delta.isEmpty ? 1 : source.scales.count / delta.count
    switch (source.grouping.offset, target.grouping.offset) {
    case (.zeroPoint, .zeroPoint), (.none, .zeroPoint):
      moveZeros(delta, ratio, factor: Float(factor), source, target)
    case (let offset, _):
      target.scales = source.scales
      for index in source.scales.indices {
        let bias =
          switch offset {
          case .bias: source.biases[index]
          case .none: -source.scales[index] * Float(source.grouping.centralCode)
          case .zeroPoint: -source.scales[index] * source.zeros[index]
          }
        let change = delta[index / ratio]
        target.biases[index] = change == 0 ? bias : bias + change
      }
    }
  }

  private static func moveZeros(
    _ delta: [Float], _ ratio: Int, factor: Float, _ source: GroupedRows, _ target: GroupedRows
  ) {
    let top = Float(target.grouping.largestCode)
    let central = Float(source.grouping.centralCode)
    for index in source.scales.indices {
      let scale = source.scales[index]
      let zero = (source.zeros.isEmpty ? central : source.zeros[index]) * factor
      target.scales[index] = scale / factor
      let moved = scale == 0 ? zero : zero - delta[index / ratio] * factor / scale
      target.zeros[index] =
        moved.isFinite ? min(max(moved.rounded(.toNearestOrEven), 0), top) : zero
    }
  }

  /// One number for each column from one for each group.
  package static func spread(_ delta: [Float], columnsPerGroup: Int) -> [Float] {
    guard columnsPerGroup > 1 else { return delta }
    var values: [Float] = []
    values.reserveCapacity(delta.count * columnsPerGroup)
    for value in delta { values.append(contentsOf: repeatElement(value, count: columnsPerGroup)) }
    return values
  }

  /// Adds numbers to others, but for zeros: they would turn −0 into +0, and a fold of nothing is to
  /// change nothing.
  package static func add(_ delta: [Float], to values: inout [Float]) {
    precondition(delta.count == values.count, "one number for each")
    // In bounds by the precondition.
    unsafe delta.withUnsafeBufferPointer { delta in
      unsafe values.withUnsafeMutableBufferPointer { values in
        for index in values.indices {
          let sum = unsafe values[index] + delta[index]
          unsafe values[index] = delta[index] == 0 ? values[index] : sum
        }
      }
    }
  }
}
