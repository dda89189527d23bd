/// How much the error of each column of a matrix counts.
///
/// A weight is usually the mean square of the input that its column is multiplied by. Weights are
/// finite and not negative; only their ratios within a group matter.
package struct ColumnWeights: Sendable {
  /// A weight for each column.
  package let values: [Float]
  /// The same weights, at least a millionth of their mean.
  ///
  /// Columns that no input reaches still get sensible codes. Weights that are all 0 become 1.
  package let floored: [Float]

  /// Creates the weights of a matrix that has columns.
  package init(_ values: [Float]) {
    self.values = values
    let mean = Float(values.reduce(0.0) { $0 + Double($1) } / Double(values.count))
    floored = values.map { mean > 0 ? max($0, mean * 1e-6) : 1 }
  }
}

/// How much the errors in some adjacent rows of a tensor count.
package struct ImportanceRows: Sendable {
  /// Adjacent rows of one matrix, whose columns have the same weights.
  struct Run: Sendable {
    /// The positions of the rows among all rows.
    var rows: Range<Int>
    var weights: ColumnWeights
  }

  /// The rows, cut where another matrix begins.
  let runs: [Run]

  /// Cuts rows of a tensor into runs of the same matrix; there is one matrix unless experts are
  /// stacked.
  ///
  /// - Parameters:
  ///   - rows: The rows, which are numbered through all matrices.
  ///   - rowsPerMatrix: The number of rows of each matrix.
  ///   - matrixCount: The number of matrices. Rows that an adapter adds to a table count as those of
  ///     the last one.
  ///   - weights: Returns the weights of a matrix.
  /// - Throws: What `weights` throws.
  package init<Failure: Error>(
    _ rows: Range<Int>, rowsPerMatrix: Int, matrixCount: Int,
    weights: (Int) throws(Failure) -> ColumnWeights
  ) throws(Failure) {
    precondition(rowsPerMatrix > 0 && matrixCount > 0, "expected rows and matrices")
    var runs: [Run] = []
    var first = rows.lowerBound
    while first < rows.upperBound {
      let matrix = min(first / rowsPerMatrix, matrixCount - 1)
      let isLast = matrix == matrixCount - 1
      let end = isLast ? rows.upperBound : min((matrix + 1) * rowsPerMatrix, rows.upperBound)
      runs.append(
        Run(
          rows: first - rows.lowerBound..<end - rows.lowerBound, weights: try weights(matrix)))
      first = end
    }
    self.runs = runs
  }
}
