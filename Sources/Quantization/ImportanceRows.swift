/// How much the error of each column of a matrix counts, or of each matrix of a stack.
///
/// A weight is usually the mean square of the input that its column is multiplied by. Weights are
/// finite and not negative; only their ratios within a group matter.
package struct ImportanceRows: Sendable {
  /// Matrices × columns weights; there is one matrix unless experts are stacked.
  package let values: [Float]
  /// The number of columns of each matrix.
  package let columnCount: Int
  /// The number of rows of each matrix.
  package let rowsPerMatrix: Int

  /// Creates weights for matrices with `columnCount` columns and `rowsPerMatrix` rows.
  package init(_ values: [Float], columnCount: Int, rowsPerMatrix: Int) {
    precondition(
      columnCount > 0 && rowsPerMatrix > 0 && values.count % columnCount == 0,
      "expected whole rows of weights")
    self.values = values
    self.columnCount = columnCount
    self.rowsPerMatrix = rowsPerMatrix
  }

  /// Where the weights of a row are in `values`; rows are numbered through all matrices.
  package func weights(ofRow row: Int) -> Range<Int> {
    // Rows that an adapter adds to a table count as those of the last matrix.
    let start = min(row / rowsPerMatrix, values.count / columnCount - 1) * columnCount
    return start..<start + columnCount
  }

  /// The same weights, at least a millionth of the mean of their matrix.
  ///
  /// Columns that no input reaches still get sensible codes. A matrix of zeros counts as equal.
  func floored() -> ImportanceRows {
    var result: [Float] = []
    result.reserveCapacity(values.count)
    for start in stride(from: 0, to: values.count, by: columnCount) {
      let row = values[start..<start + columnCount]
      let mean = Float(row.reduce(0.0) { $0 + Double($1) } / Double(columnCount))
      result += mean > 0 ? row.map { max($0, mean * 1e-6) } : row.map { _ in 1 }
    }
    return ImportanceRows(result, columnCount: columnCount, rowsPerMatrix: rowsPerMatrix)
  }

  /// Cuts rows into runs of the same matrix, which have the same weights.
  func runs(of rows: Range<Int>) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    var first = rows.lowerBound
    while first < rows.upperBound {
      let end = min((first / rowsPerMatrix + 1) * rowsPerMatrix, rows.upperBound)
      runs.append(first..<end)
      first = end
    }
    return runs
  }
}
