internal import Formats
internal import Quantization
internal import TensorModel

/// Where the importance of the columns of a tensor is, in an entry of an importance matrix.
package struct TensorImportance: Sendable {
  /// The entry.
  let entry: ImportanceMatrix.Entry
  /// Those of its columns that belong to the tensor: matrices × columns.
  let columns: Range<Int>
  /// The number of columns of each matrix of the tensor.
  let columnCount: Int
  /// The number of rows of each matrix of the tensor.
  let rowsPerMatrix: Int

  /// The weights of a matrix of the tensor.
  ///
  /// Throws `io`.
  fileprivate func weights(ofMatrix matrix: Int) throws(ModelError) -> ColumnWeights {
    let start = columns.lowerBound + matrix * columnCount
    let weights = try entry.weights(in: start..<start + columnCount)
    // The numbers were checked when the file was opened.
    guard weights.allSatisfy({ $0 >= 0 && $0.isFinite }) else {
      throw ModelError(
        .io, "the importance matrix changed while it was read", tensor: entry.name,
        hint: "run again once nothing writes to it")
    }
    return ColumnWeights(weights)
  }
}

/// Reads the importance of rows, and remembers that of the last matrix.
struct ImportanceReader {
  private var last: (entry: String, start: Int, weights: ColumnWeights)?

  /// The importance of some rows of a tensor; nil without any.
  ///
  /// Throws `io`.
  mutating func rows(
    _ rows: Range<Int>, of tensor: TensorImportance?
  ) throws(ModelError) -> ImportanceRows? {
    guard let tensor else { return nil }
    return try ImportanceRows(
      rows, rowsPerMatrix: tensor.rowsPerMatrix,
      matrixCount: tensor.columns.count / tensor.columnCount
    ) { (matrix) throws(ModelError) in
      let start = tensor.columns.lowerBound + matrix * tensor.columnCount
      if let last, last.start == start, last.entry == tensor.entry.name { return last.weights }
      let weights = try tensor.weights(ofMatrix: matrix)
      last = (tensor.entry.name, start, weights)
      return weights
    }
  }
}
