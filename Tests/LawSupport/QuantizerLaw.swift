internal import Kernels
package import Quantization
internal import TensorModel
internal import TestSupport

/// What holds of every quantizer: codes fit their bits, parameters are numbers of their type, rows do
/// not influence each other, and every number is about as near as a code can be; where a search cuts
/// numbers off, the error of each group is at most that of the plain rounding with the same offset.
package enum QuantizerLaw {
  /// Checks the law for some rows of finite numbers.
  ///
  /// - Parameters:
  ///   - quantizer: The quantizer.
  ///   - values: rows × columns numbers; the group size divides the columns.
  ///   - rowCount: The number of rows.
  /// - Throws: What does not hold.
  package static func check(
    _ quantizer: any Quantizer, _ values: [Float], rowCount: Int
  ) throws(LawViolation) {
    let columns = values.count / rowCount
    let rows = try encode(quantizer, values, rowCount: rowCount)
    let (grouping, type) = (quantizer.grouping, quantizer.grouping.parameters)
    try require(
      rows.codes.allSatisfy { Int($0) <= grouping.largestCode },
      "a code of \(quantizer.schemeName) has more than \(grouping.bits) bits")
    try require(
      rows.scales.bits == Numbers.rounded(rows.scales, to: type).bits
        && rows.biases.bits == Numbers.rounded(rows.biases, to: type).bits,
      "a parameter of \(quantizer.schemeName) is not a number of \(type.name)")
    try require(
      rows.zeros.allSatisfy { $0 >= 0 && $0 <= Float(grouping.largestCode) && $0 == $0.rounded() },
      "a zero point of \(quantizer.schemeName) is not a code")
    for row in 0..<rowCount {
      let alone = try encode(
        quantizer, Array(values[row * columns..<(row + 1) * columns]), rowCount: 1)
      let together = rows.rows(row..<row + 1)
      try require(
        alone.codes == together.codes && alone.values.bits == together.values.bits,
        "\(quantizer.schemeName) encodes row \(row) otherwise beside others")
    }
    if quantizer.schemeName == Scheme.search.name {
      try checkSearch(quantizer, values, rows)
    } else {
      try checkErrors(quantizer, values, rows)
    }
  }

  private static func encode(
    _ quantizer: any Quantizer, _ values: [Float], rowCount: Int
  ) throws(LawViolation) -> GroupedRows {
    let rows = GroupedRows(
      grouping: quantizer.grouping, columnCount: values.count / rowCount, rowCount: rowCount)
    try unfailing("\(quantizer.schemeName)") {
      try quantizer.encode(values, weighing: nil, into: rows)
    }
    return rows
  }

  /// A search may cut off values, but its groups have no larger error than those of plain rounding.
  private static func checkSearch(
    _ quantizer: any Quantizer, _ values: [Float], _ rows: GroupedRows
  ) throws(LawViolation) {
    let grouping = quantizer.grouping
    let plain: Scheme =
      switch grouping.offset {
      case .bias: .minMax
      case .zeroPoint: .zeroPoint
      case .none: .symmetric
      }
    let others = try encode(plain.quantizer(grouping), values, rowCount: rows.rowCount)
    let size = grouping.groupSize
    for group in rows.scales.indices {
      let (found, most) = (error(rows, values, group, size), error(others, values, group, size))
      // The search adds the errors in another order.
      try require(
        found <= most * (1 + 1e-12),
        "\(quantizer.schemeName) has error \(found) in group \(group), \(plain.name) has \(most)")
    }
  }

  /// The sum of squared errors of a group, from its stored parameters in double precision.
  private static func error(
    _ rows: GroupedRows, _ values: [Float], _ group: Int, _ size: Int
  ) -> Double {
    let zero: Double =
      switch rows.grouping.offset {
      case .bias: 0
      case .zeroPoint: Double(rows.zeros[group])
      case .none: Double(rows.grouping.centralCode)
      }
    let bias = rows.grouping.offset == .bias ? Double(rows.biases[group]) : 0
    return (group * size..<(group + 1) * size).reduce(0) { sum, index in
      let decoded = Double(rows.scales[group]) * (Double(rows.codes[index]) - zero) + bias
      return sum + (Double(values[index]) - decoded) * (Double(values[index]) - decoded)
    }
  }

  /// The error is at most half a step, and what rounding the parameters costs.
  private static func checkErrors(
    _ quantizer: any Quantizer, _ values: [Float], _ rows: GroupedRows
  ) throws(LawViolation) {
    let grouping = quantizer.grouping
    let largest = Double(grouping.largestCode)
    let decoded = rows.values
    for index in values.indices {
      let group = index / grouping.groupSize
      let scale = Double(rows.scales[group].magnitude)
      let bias = grouping.offset == .bias ? Double(rows.biases[group].magnitude) : 0
      let rounding =
        unit(grouping.parameters) * (scale * largest + bias)
        + smallest(grouping.parameters) * (largest + 1)
      // Around zero the farther side has one code less, and steps of MLX may have become smaller:
      // the end may be a whole step away.
      let isClamped =
        (grouping.offset == .none || quantizer.schemeName == "mlx")
        && Int(rows.codes[index]) == grouping.largestCode
      let bound = scale * (isClamped ? 1 : 0.5) + rounding + 1e-6 * (scale * 256 + bias)
      let error = (Double(values[index]) - Double(decoded[index])).magnitude
      try require(
        error <= bound,
        "\(quantizer.schemeName) makes \(decoded[index]) of \(values[index]), scale \(scale)")
    }
  }

  /// The largest relative error of rounding to a type.
  private static func unit(_ type: ScalarType) -> Double {
    switch type {
    case .f16: 0x1p-11
    case .bf16: 0x1p-8
    default: 0x1p-24
    }
  }

  /// The largest absolute error of rounding a small number to a type.
  private static func smallest(_ type: ScalarType) -> Double { type == .f16 ? 0x1p-25 : 0 }
}
