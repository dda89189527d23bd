package import TensorModel

/// Adds a number to all weights of a group by changing the offset of the group.
///
/// With w = scale · code + bias, the number δ is added to the bias. With w = scale · (code − zero),
/// −δ / scale is added to the zero point, which is rounded to an integer (arXiv 2309.14717,
/// algorithm 1). Codes are unchanged, or multiplied by `factor` if the target has wider codes.
package enum GroupShift {
  /// The largest factor for codes of `source` bits that keeps them within `target` bits.
  package static func factor(from source: Int, to target: Int) -> Int {
    source == target ? 1 : ((1 << target) - 1) / ((1 << source) - 1)
  }

  /// Fills `target` with the groups of `source` after the change.
  ///
  /// - Parameters:
  ///   - delta: The number that is added to each weight, as rows × adapter groups. A group of the
  ///     adapter consists of whole groups of `source`.
  ///   - source: The groups before the change.
  ///   - target: Receives as many rows. Its offset is a bias, or a zero point if the source stores
  ///     a zero point or no offset. Its scales and biases are not rounded to their type yet.
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

  /// Repeats the number of each group for all columns of the group.
  package static func spread(_ delta: [Float], columnsPerGroup: Int) -> [Float] {
    guard columnsPerGroup > 1 else { return delta }
    var values: [Float] = []
    values.reserveCapacity(delta.count * columnsPerGroup)
    for value in delta { values.append(contentsOf: repeatElement(value, count: columnsPerGroup)) }
    return values
  }

  /// Adds `delta` to `values`, element by element, and skips zeros.
  ///
  /// Adding a zero would turn −0 into +0, but an adapter of zeros must not change a bit.
  package static func add(_ delta: [Float], to values: inout [Float]) {
    precondition(delta.count == values.count, "delta and values differ in length")
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
