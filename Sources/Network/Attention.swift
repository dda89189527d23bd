internal import Kernels
internal import TensorModel

/// The attention of some rows of queries to rows of keys and values.
struct Attention {
  let shape: DecoderShape
  let workers: Workers
  /// The number of positions that a query sees; nil for all before it.
  let window: Int?

  // A part of the work: queries of one head, whose scores fit into a cache.
  private static let blockLength = 48

  /// A run of queries of one text.
  struct Run: Sendable {
    /// The rows of the queries, and of the result.
    var queries: Range<Int>
    /// The position of the first of them.
    var firstPosition: Int
    /// The row of the key at position 0.
    var firstKey: Int
  }

  /// What each query takes from the values: rows × (heads · head size).
  ///
  /// Throws if the workers are asked to stop.
  func result(
    of queries: FloatMatrix, keys: FloatMatrix, values: FloatMatrix, runs: [Run]
  ) throws(ModelError) -> FloatMatrix {
    let result = FloatMatrix(rowCount: queries.rowCount, columnCount: queries.columnCount)
    let parts = runs.flatMap { run in
      stride(from: 0, to: run.queries.count, by: Self.blockLength).flatMap { start in
        let count = min(Self.blockLength, run.queries.count - start)
        let first = run.queries.lowerBound + start
        let part = Run(
          queries: first..<first + count, firstPosition: run.firstPosition + start,
          firstKey: run.firstKey)
        return (0..<shape.headCount).map { (run: part, head: $0) }
      }
    }
    try workers.run(parts.count) { (part) throws(ModelError) in
      attend(queries, keys, values, parts[part].run, head: parts[part].head, into: result)
    }
    return result
  }

  private func attend(
    _ queries: FloatMatrix, _ keys: FloatMatrix, _ values: FloatMatrix, _ run: Run, head: Int,
    into result: FloatMatrix
  ) {
    let size = shape.headSize
    let group = head / (shape.headCount / shape.keyValueHeadCount)
    let others = group * size..<(group + 1) * size
    func firstSeen(_ position: Int) -> Int { window.map { max(0, position - $0 + 1) } ?? 0 }
    let first = firstSeen(run.firstPosition)
    let seen = first..<run.firstPosition + run.queries.count
    let rows = run.firstKey + seen.lowerBound..<run.firstKey + seen.upperBound
    let scores = FloatMatrix(rowCount: run.queries.count, columnCount: seen.count)
    PackedRows(queries, rows: run.queries, columns: head * size..<(head + 1) * size)
      .multiply(rowsOf: keys, rows, columns: others, into: scores)
    for row in 0..<run.queries.count {
      let position = run.firstPosition + row
      let columns = firstSeen(position) - first..<position + 1 - first
      if let cap = shape.scoreCap {
        scores.cap(row: row, columns: columns, to: cap, scale: shape.scoreScale)
        scores.softmax(row: row, columns: columns)
      } else {
        scores.softmax(row: row, columns: columns, scale: shape.scoreScale)
      }
    }
    PackedRows(scores, rows: 0..<run.queries.count, columns: 0..<seen.count)
      .multiply(
        columnsOf: values, others, rows: rows, into: result, row: run.queries.lowerBound,
        column: head * size)
  }
}
