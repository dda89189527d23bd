/// A tensor that is read from another one: some of its rows, its columns as rows, or a function of it.
package struct TensorView: Sendable, Hashable {
  /// The name of the tensor.
  package var name: String
  /// Its shape.
  package var shape: Shape
  /// The index in the catalog of the tensor that it is read from.
  package var source: Int
  /// The rows of the source, or of its transposed matrices; empty for a tensor that is read as it is.
  package var rows: [RowSelection] = []
  /// Whether every number of the source counts as a row.
  package var dividesRows = false
  /// The order of the columns; nil if it is that of the source.
  package var columns: ColumnOrder?
  /// How each matrix of the source is transposed; nil if it is not.
  package var transposition: Transposition?
  /// What is computed from each number.
  package var function = Function.identity
  /// What the numbers of its rows are multiplied by: for some rows, then for the next ones; empty for
  /// nothing.
  package var factors: [RowFactors] = []
  /// The type in which factors are multiplied with each other, then with the numbers; nil if the
  /// numbers are multiplied in float32 by one factor after the other.
  package var productType: ScalarType?
  /// The views that it is made of; nil if it is read from `source` alone.
  package var joining: Joining?

  /// How several views become one tensor.
  package enum Joining: Sendable, Hashable {
    /// Their rows, counted from the first row of the first view to the last one of the last view.
    case rows([TensorView])
    /// Their columns in turn: as many columns of each view as a run has, then the next ones of each.
    case columns([TensorView], runLength: Int)

    /// The views.
    package var views: [TensorView] {
      switch self {
      case .rows(let views), .columns(let views, _): views
      }
    }
  }

  /// An order of columns, of which some stay together.
  package struct ColumnOrder: Sendable, Hashable {
    /// The number of columns that stay together.
    package var runLength: Int
    /// The runs in their new order.
    package var runs: RowSelection

    package init(runLength: Int, runs: RowSelection) {
      self.runLength = runLength
      self.runs = runs
    }

    /// A row in the new order; `row` is a row, or its bytes.
    package func applied<Element>(to row: ArraySlice<Element>) -> [Element] {
      let length = row.count / runs.count
      var result: [Element] = []
      result.reserveCapacity(row.count)
      for run in RowSelection.runs([runs], 0..<runs.count) {
        for index in 0..<run.count {
          let start = row.startIndex + (run.row + index * run.distance) * length
          result += row[start..<start + length]
        }
      }
      return result
    }
  }

  /// Matrices that are transposed: every column of a matrix becomes a row.
  package struct Transposition: Sendable, Hashable {
    /// The number of rows of a matrix in the source.
    package var matrixRowCount: Int
    /// The rows of a matrix whose numbers are used.
    package var usedRows: Range<Int>

    package init(matrixRowCount: Int, usedRows: Range<Int>? = nil) {
      self.matrixRowCount = matrixRowCount
      self.usedRows = usedRows ?? 0..<matrixRowCount
    }
  }

  /// Factors of rows in float32, which are applied one after the other.
  package struct RowFactors: Sendable, Hashable {
    /// The number of rows.
    package var rowCount: Int
    /// The factors.
    package var factors: [Float]

    package init(rowCount: Int, factors: [Float]) {
      self.rowCount = rowCount
      self.factors = factors
    }
  }

  /// A function of a number.
  package enum Function: Sendable, Hashable {
    /// The number itself.
    case identity
    /// −eˣ: what state space models multiply their states by, of which checkpoints store the logarithm.
    case negatedExponential
    /// The logarithm x of a negative number y, with −eˣ = y: of all such x that float32 has one with
    /// few digits.
    case logarithmOfNegative
  }

  /// A view of a tensor as it is.
  package init(name: String, shape: Shape, source: Int) {
    self.name = name
    self.shape = shape
    self.source = source
  }

  /// Whether its rows are rows of the source, or of the views that it joins, as they are.
  package var movesRows: Bool {
    if case .columns? = joining { return false }
    return transposition == nil && keepsNumbers
  }

  /// Whether its numbers are numbers of the source.
  package var keepsNumbers: Bool { function == .identity && factors.isEmpty }
}
