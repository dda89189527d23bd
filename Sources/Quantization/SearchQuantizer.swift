internal import Kernels
internal import TensorModel

/// A quantizer that searches the scales and offsets with the smallest squared error.
struct SearchQuantizer: Quantizer {
  let schemeName = "search"
  let grouping: Grouping
  let effort: Effort

  func encode(
    _ values: [Float], weighing importance: ImportanceRows?, into rows: GroupedRows
  ) throws(GroupFault) {
    guard let runs = importance?.runs else { return try encode(values, [], into: rows) }
    for run in runs {
      let weights = run.weights.values
      precondition(weights.count == rows.columnCount, "expected one weight per column")
      guard runs.count > 1 else { return try encode(values, weights, into: rows) }
      try encode(run.rows, of: values, weights, into: rows)
    }
  }

  /// Encodes some of the rows apart from the others, since these have other weights.
  private func encode(
    _ run: Range<Int>, of values: [Float], _ weights: [Float], into rows: GroupedRows
  ) throws(GroupFault) {
    let piece = GroupedRows(
      grouping: grouping, columnCount: rows.columnCount, rowCount: run.count)
    let columns = run.lowerBound * rows.columnCount..<run.upperBound * rows.columnCount
    let groups = run.lowerBound * rows.groupCount..<run.upperBound * rows.groupCount
    do throws(GroupFault) {
      try encode(Array(values[columns]), weights, into: piece)
    } catch {
      throw GroupFault(kind: error.kind, group: groups.lowerBound + error.group)
    }
    rows.codes.replaceSubrange(columns, with: piece.codes)
    rows.scales.replaceSubrange(groups, with: piece.scales)
    if !piece.biases.isEmpty { rows.biases.replaceSubrange(groups, with: piece.biases) }
    if !piece.zeros.isEmpty { rows.zeros.replaceSubrange(groups, with: piece.zeros) }
  }

  /// Encodes rows with the same weights; `weights` is empty if all columns count the same.
  private func encode(
    _ values: [Float], _ weights: [Float], into rows: GroupedRows
  ) throws(GroupFault) {
    try encode(
      values, weights, rows.kernel, &rows.codes, &rows.scales, &rows.biases, &rows.zeros)
  }

  private func encode(
    _ values: [Float], _ weights: [Float], _ kernel: GroupKernel, _ codes: inout [UInt8],
    _ scales: inout [Float], _ biases: inout [Float], _ zeros: inout [Float]
  ) throws(GroupFault) {
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    switch grouping.offset {
    case .bias:
      var biasSpan = biases.mutableSpan
      try kernel.searchAffine(
        values.span, weights: weights.span, effort: effort, codes: &codeSpan, scales: &scaleSpan,
        biases: &biasSpan)
    case .zeroPoint:
      var zeroSpan = zeros.mutableSpan
      try kernel.searchZeroPoint(
        values.span, weights: weights.span, effort: effort, codes: &codeSpan, scales: &scaleSpan,
        zeros: &zeroSpan)
    case .none:
      try kernel.searchSymmetric(
        values.span, weights: weights.span, effort: effort, codes: &codeSpan, scales: &scaleSpan)
    }
  }
}

extension Scheme {
  /// Searches the scale and the offset of each group that make its squared error smallest.
  ///
  /// The error counts the columns by their importance, if it is known. In no group is it larger than
  /// that of minmax, zeropoint and symmetric.
  package static let search = Scheme(
    name: "search", summary: "the smallest error, with a bias, a zero point or neither",
    offsets: [.bias, .zeroPoint, .none], searches: true, blocks: { .search($0) }
  ) { SearchQuantizer(grouping: $0, effort: $1) }
}
