internal import Kernels
internal import TensorModel

/// The attention of some rows of queries to rows of keys and values.
struct Attention {
  let shape: DecoderShape
  let workers: Workers
  /// The number of positions that a query sees; nil for all before it.
  let window: Int?

  // The rows of a part of the work, whose scores fit into a cache.
  private static let blockLength = 48

  /// The number of heads of queries that see the same keys and values.
  private var groupSize: Int { shape.headCount / shape.keyValueHeadCount }

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
    let length = max(1, Self.blockLength / groupSize)
    let parts = runs.flatMap { run in
      stride(from: 0, to: run.queries.count, by: length).flatMap { start in
        let count = min(length, run.queries.count - start)
        let first = run.queries.lowerBound + start
        let part = Run(
          queries: first..<first + count, firstPosition: run.firstPosition + start,
          firstKey: run.firstKey)
        return (0..<shape.keyValueHeadCount).map { (run: part, group: $0) }
      }
    }
    try workers.run(parts.count) { (part) throws(ModelError) in
      attend(queries, keys, values, parts[part].run, group: parts[part].group, into: result)
    }
    return result
  }

  /// Computes the heads of a group, whose queries become rows: those of a position one after another.
  private func attend(
    _ queries: FloatMatrix, _ keys: FloatMatrix, _ values: FloatMatrix, _ run: Run, group: Int,
    into result: FloatMatrix
  ) {
    let size = shape.headSize
    let columns = group * size..<(group + 1) * size
    let rowCount = run.queries.count * groupSize
    /// The row of the queries and the result, and the first column, of a row here.
    func place(_ row: Int) -> (row: Int, column: Int) {
      let head = group * groupSize + row % groupSize
      return (run.queries.lowerBound + row / groupSize, head * size)
    }
    func firstSeen(_ position: Int) -> Int { window.map { max(0, position - $0 + 1) } ?? 0 }
    let first = firstSeen(run.firstPosition)
    let seen = first..<run.firstPosition + run.queries.count
    let rows = run.firstKey + seen.lowerBound..<run.firstKey + seen.upperBound

    let heads = FloatMatrix(rowCount: rowCount, columnCount: size)
    for row in 0..<rowCount {
      let (source, column) = place(row)
      heads.setRow(row, to: queries, row: source, columns: column..<column + size)
    }
    let scores = FloatMatrix(rowCount: rowCount, columnCount: seen.count)
    PackedRows(heads, rows: 0..<rowCount, columns: 0..<size)
      .multiply(rowsOf: keys, rows, columns: columns, into: scores)
    for row in 0..<rowCount {
      let position = run.firstPosition + row / groupSize
      let columns = firstSeen(position) - first..<position + 1 - first
      if let cap = shape.scoreCap {
        scores.cap(row: row, columns: columns, to: cap, scale: shape.scoreScale)
        scores.softmax(row: row, columns: columns)
      } else {
        scores.softmax(row: row, columns: columns, scale: shape.scoreScale)
      }
    }
    PackedRows(scores, rows: 0..<rowCount, columns: 0..<seen.count)
      .multiply(columnsOf: values, columns, rows: rows, into: heads, row: 0, column: 0)
    for row in 0..<rowCount {
      let (target, column) = place(row)
      result.setRow(target, column: column, to: heads, row: row)
    }
  }
}
