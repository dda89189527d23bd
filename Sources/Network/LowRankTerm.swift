internal import Adapters
internal import TensorModel

/// A product that an adapter adds to the outputs of a matrix: y += scale · L (R x).
///
/// Both products are chains of fused multiply-adds. Pooled inputs are the same as an R whose columns
/// are repeated for all inputs of a group. For a matrix that is transposed to run the model, L and R
/// change places: y += scale · Rᵀ (Lᵀ x).
struct LowRankTerm: Sendable {
  /// The outputs of the matrix that it is added to.
  let outputs: Range<Int>
  /// The number of rows of R.
  var rank: Int { product.rank }
  /// The factor of the product.
  var scale: Float { Float(product.scale) }

  private let change: PairedChange
  private let product: LowRank
  private let expert: Int
  /// The vector of L that belongs to the first of the outputs; of R, if the matrix is transposed.
  private let firstVector: Int
  /// The vectors from one output to the next.
  private var distance = 1
  /// The vectors of L that belong to the inputs, if the matrix is transposed.
  private var inputs: Range<Int>?
  /// The order of the inputs; nil if it is that of the adapter.
  private var order: TensorView.ColumnOrder?
  /// What each output is multiplied by; nil for nothing.
  private var factors: [Float]?

  /// The products of adapters with some rows of a tensor, in the order of the changes.
  ///
  /// Nil if a change is no product, or scales rows as DoRA does.
  static func terms(
    _ changes: [PairedChange], ofRows rows: Range<Int>, of shape: Shape
  ) -> [LowRankTerm]? {
    var terms: [LowRankTerm] = []
    for change in changes {
      guard let product = change.lowRank, product.magnitude == nil else { return nil }
      let count = product.left.vectorCount
      let origin = change.window?.lowerBound ?? 0
      let changed = rows.clamped(to: change.window ?? 0..<shape.rowCount)
      guard count > 0, product.rank > 0, !changed.isEmpty else { continue }
      for expert in (changed.lowerBound - origin) / count...(changed.upperBound - 1 - origin)
        / count
      {
        let first = origin + expert * count
        let own = changed.clamped(to: first..<first + count)
        terms.append(
          LowRankTerm(
            outputs: own.lowerBound - rows.lowerBound..<own.upperBound - rows.lowerBound,
            change: change, product: product, expert: expert, firstVector: own.lowerBound - first))
      }
    }
    return terms
  }

  /// The products of adapters with some rows of a view, whose changes are those of its source.
  ///
  /// Nil if a change is no product of a whole tensor, or if a view joins others, or computes a function
  /// of numbers.
  static func terms(
    _ changes: [PairedChange], ofRows rows: Range<Int>, of view: TensorView, _ source: Shape
  ) -> [LowRankTerm]? {
    let isMoved = view.columns == nil && view.factors.isEmpty
    guard view.joining == nil, isMoved || view.transposition == nil, view.function == .identity,
      !view.dividesRows
    else { return nil }
    var terms: [LowRankTerm] = []
    for change in changes {
      guard let product = change.lowRank, product.magnitude == nil, change.window == nil,
        change.groupSize == nil, product.left.vectorCount > 0, product.rank > 0
      else { return nil }
      for run in RowSelection.runs(view.rows, rows) {
        let found =
          view.transposition.map {
            transposed(run, $0, change, product, source, first: rows.lowerBound)
          } ?? moved(run, change, product, first: rows.lowerBound, view)
        terms += found
      }
    }
    return terms
  }

  /// The products with rows of a view that are rows of its source, with columns in some order, and
  /// times some factors.
  private static func moved(
    _ run: RowSelection.Run, _ change: PairedChange, _ product: LowRank, first: Int,
    _ view: TensorView
  ) -> [LowRankTerm] {
    let factors = view.factors.flatMap { part in
      Array(repeating: part.factors.reduce(1, *), count: part.rowCount)
    }
    return divided(run, length: product.left.vectorCount).map { part in
      var term = LowRankTerm(part, change, product, first: first, expert: part.matrix)
      term.order = view.columns
      term.factors =
        factors.isEmpty ? nil : Array(factors[part.position..<part.position + part.count])
      return term
    }
  }

  /// The products with rows of a view that are columns of the matrices of its source.
  private static func transposed(
    _ run: RowSelection.Run, _ transposition: TensorView.Transposition, _ change: PairedChange,
    _ product: LowRank, _ source: Shape, first: Int
  ) -> [LowRankTerm] {
    divided(run, length: source.columnCount).map { part in
      // A matrix is an expert of the adapter, or some rows of it.
      let start = part.matrix * transposition.matrixRowCount
      let (expert, row) = start.quotientAndRemainder(dividingBy: product.left.vectorCount)
      var term = LowRankTerm(part, change, product, first: first, expert: expert)
      let used = transposition.usedRows
      term.inputs = row + used.lowerBound..<row + used.upperBound
      return term
    }
  }

  /// Rows with a constant distance, all of them in one matrix.
  private struct Part {
    /// The position of the first row.
    var position: Int
    var matrix: Int
    /// The first row in the matrix.
    var row: Int
    var count: Int
    var distance: Int
  }

  /// The parts of a run of rows in matrices of so many rows.
  private static func divided(_ run: RowSelection.Run, length: Int) -> [Part] {
    var parts: [Part] = []
    var done = 0
    while done < run.count {
      let (matrix, row) = (run.row + done * run.distance).quotientAndRemainder(dividingBy: length)
      let count = min(run.count - done, (length - 1 - row) / run.distance + 1)
      parts.append(
        Part(
          position: run.position + done, matrix: matrix, row: row, count: count,
          distance: run.distance))
      done += count
    }
    return parts
  }

  private init(
    _ part: Part, _ change: PairedChange, _ product: LowRank, first: Int, expert: Int
  ) {
    self.init(
      outputs: part.position - first..<part.position - first + part.count, change: change,
      product: product, expert: expert, firstVector: part.row)
    distance = part.distance
  }

  private init(
    outputs: Range<Int>, change: PairedChange, product: LowRank, expert: Int, firstVector: Int
  ) {
    self.outputs = outputs
    self.change = change
    self.product = product
    self.expert = expert
    self.firstVector = firstVector
  }

  /// R, as rank × inputs; Lᵀ if the matrix is transposed.
  ///
  /// Throws what reading an adapter throws.
  func right(_ reader: UpdateReader) throws(ModelError) -> [Float] {
    if let inputs {
      let left = try reader.left(change, product, vectors: inputs, expert)
      return (0..<rank).flatMap { k in
        (0..<inputs.count).map { left[$0 * rank + k] }
      }
    }
    let right = try reader.right(change, product, expert)
    if let order {
      let count = right.count / rank
      return (0..<rank).flatMap { order.applied(to: right[$0 * count..<($0 + 1) * count]) }
    }
    return change.groupSize.map { GroupShift.spread(right, columnsPerGroup: $0) } ?? right
  }

  /// The rows of L, or of Rᵀ, for some of the outputs, as outputs × rank.
  ///
  /// Throws what reading an adapter throws.
  func left(_ outputs: Range<Int>, _ reader: UpdateReader) throws(ModelError) -> [Float] {
    let start = firstVector + (outputs.lowerBound - self.outputs.lowerBound) * distance
    if inputs != nil {
      let right = try reader.right(change, product, expert)
      let columnCount = product.right.vectorCount
      return outputs.indices.flatMap { output in
        let column = start + (output - outputs.lowerBound) * distance
        return (0..<rank).map { right[$0 * columnCount + column] }
      }
    }
    let last = start + (outputs.count - 1) * distance
    let left = try reader.left(change, product, vectors: start..<last + 1, expert)
    guard distance > 1 || factors != nil else { return left }
    return outputs.indices.flatMap { output in
      let row = (output - outputs.lowerBound) * distance * rank
      let factor = factors?[output - self.outputs.lowerBound] ?? 1
      return left[row..<row + rank].map { $0 * factor }
    }
  }
}
