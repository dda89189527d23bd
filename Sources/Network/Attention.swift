internal import Kernels
internal import TensorModel

/// The attention of some rows of queries to rows of keys and values.
struct Attention {
  let shape: DecoderShape
  let workers: Workers
  let place: DecoderShape.Layer
  /// A score of each head that has no value; nil without them.
  var sinks: [Float]?

  // The rows of a part of the work, whose scores fit into a cache.
  private static let blockLength = 48

  /// The number of heads of queries that see the same keys and values.
  private var groupSize: Int { place.heads.count / place.heads.keyValueCount }

  /// A run of queries of one text.
  struct Run: Sendable {
    /// The rows of the queries, and of the result.
    var queries: Range<Int>
    /// The position of the first of them.
    var firstPosition: Int
    /// The row of the key at position 0.
    var firstKey: Int
  }

  /// What each query takes from the values: rows × (heads · numbers of a value).
  ///
  /// Throws if the workers are asked to stop.
  func result(
    of queries: FloatMatrix, keys: FloatMatrix, values: FloatMatrix, runs: [Run]
  ) throws(ModelError) -> FloatMatrix {
    let result = FloatMatrix(
      rowCount: queries.rowCount, columnCount: place.heads.count * place.heads.valueSize)
    let length = max(1, Self.blockLength / groupSize)
    let parts = runs.flatMap { run in
      stride(from: 0, to: run.queries.count, by: length).flatMap { start in
        let count = min(length, run.queries.count - start)
        let first = run.queries.lowerBound + start
        let part = Run(
          queries: first..<first + count, firstPosition: run.firstPosition + start,
          firstKey: run.firstKey)
        return (0..<place.heads.keyValueCount).map { (run: part, group: $0) }
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
    let (size, valueSize) = (place.heads.keySize, place.heads.valueSize)
    let columns = group * size..<(group + 1) * size
    let rowCount = run.queries.count * groupSize
    func head(_ row: Int) -> Int { group * groupSize + row % groupSize }
    /// The row of the queries, and of the result.
    func token(_ row: Int) -> Int { run.queries.lowerBound + row / groupSize }
    let first = place.firstSeen(from: run.firstPosition)
    let seen = first..<run.firstPosition + run.queries.count
    let rows = run.firstKey + seen.lowerBound..<run.firstKey + seen.upperBound

    let heads = FloatMatrix(rowCount: rowCount, columnCount: size, isZero: false)
    for row in 0..<rowCount {
      let column = head(row) * size
      heads.setRow(row, to: queries, row: token(row), columns: column..<column + size)
    }
    // The last column has room for the sink of the last query.
    let scores = FloatMatrix(rowCount: rowCount, columnCount: seen.count + 1)
    PackedRows(heads, rows: 0..<rowCount, columns: 0..<size)
      .multiply(rowsOf: keys, rows, columns: columns, into: scores)
    for row in 0..<rowCount {
      let position = run.firstPosition + row / groupSize
      let columns = place.firstSeen(from: position) - first..<position + 1 - first
      normalize(scores, row, columns, sink: sinks?[head(row)])
    }
    let mixed = FloatMatrix(rowCount: rowCount, columnCount: valueSize, isZero: false)
    PackedRows(scores, rows: 0..<rowCount, columns: 0..<seen.count)
      .multiply(
        columnsOf: values, group * valueSize..<(group + 1) * valueSize, rows: rows, into: mixed,
        row: 0, column: 0)
    for row in 0..<rowCount {
      result.setRow(token(row), column: head(row) * valueSize, to: mixed, row: row)
    }
  }

  /// Replaces scores of a row by their softmax, and all others by 0.
  private func normalize(
    _ scores: FloatMatrix, _ row: Int, _ columns: Range<Int>, sink: Float?
  ) {
    var scale = shape.scoreScale
    if let cap = shape.scoreCap {
      scores.cap(row: row, columns: columns, to: cap, scale: scale)
      scale = 1
    }
    guard let sink else {
      scores.softmax(row: row, columns: columns, scale: scale)
      return
    }
    // The sink is a score after the others, which is not scaled.
    if scale != 1 { scores.scale(row: row, by: scale) }
    let last = columns.upperBound
    scores.withRow(row) { $0[last] = sink }
    scores.softmax(row: row, columns: columns.lowerBound..<last + 1)
    scores.withRow(row) { $0[last] = 0 }
  }
}
