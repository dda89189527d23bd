import Quantization

/// The importance of the columns of a stack of matrices.
struct StackImportance {
  /// Matrices × columns weights.
  let values: [Float]
  let columnCount: Int
  let rowsPerMatrix: Int

  /// The number of matrices.
  private var count: Int { values.count / columnCount }

  /// The weights of a matrix.
  func weights(ofMatrix matrix: Int) -> [Float] {
    Array(values[matrix * columnCount..<(matrix + 1) * columnCount])
  }

  /// The weights of a row; rows beyond the last matrix count as its own.
  func weights(ofRow row: Int) -> [Float] {
    weights(ofMatrix: min(row / rowsPerMatrix, count - 1))
  }

  /// The importance of some rows, which are numbered through all matrices.
  func rows(_ rows: Range<Int>) -> ImportanceRows {
    ImportanceRows(rows, rowsPerMatrix: rowsPerMatrix, matrixCount: count) {
      ColumnWeights(weights(ofMatrix: $0))
    }
  }
}
