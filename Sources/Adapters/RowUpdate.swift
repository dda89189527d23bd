package import TensorModel

/// A block of rows of a base tensor, as floats, to which adapters are applied.
package struct RowUpdate {
  /// The rows of the tensor that the block holds.
  package let rows: Range<Int>
  /// The number of columns.
  package let columnCount: Int
  /// The rows before any change.
  package let base: [Float]
  /// The rows after the changes applied so far.
  package private(set) var values: [Float]
  /// The sum of the changes applied so far.
  package private(set) var delta: [Float]

  /// Creates a block before any change.
  package init(_ base: [Float], rows: Range<Int>, columnCount: Int) {
    self.rows = rows
    self.columnCount = columnCount
    self.base = base
    values = base
    delta = Array(repeating: 0, count: base.count)
  }

  /// Applies a change.
  ///
  /// Throws `io`, `malformed`.
  package mutating func apply(
    _ change: PairedChange, _ reader: UpdateReader
  ) throws(ModelError) {
    if let window = change.window, !window.overlaps(rows) { return }
    switch change.operation {
    case .lowRank(let product, let groupSize):
      let added = try Self.product(
        change, product, groupSize: groupSize, rows: rows, columnCount: columnCount, reader)
      if let magnitude = product.magnitude {
        let changed = change.window.map { rows.clamped(to: $0) } ?? rows
        let origin = change.window?.lowerBound ?? 0
        let lengths = try reader.vector(
          change, tensor: magnitude, rows: changed.lowerBound - origin..<changed.upperBound - origin
        )
        rescale(added, lengths, firstRow: changed.lowerBound - rows.lowerBound)
      } else {
        add(added)
      }
    case .vector(let tensor, let scale):
      let added = try reader.vector(change, tensor: tensor, rows: 0..<columnCount)
      add(added.map { $0 * Float(scale) })
    case .replacement(let tensor):
      let wanted = try reader.rows(change, tensor: tensor, rows, columnCount: columnCount)
      for index in values.indices { delta[index] += wanted[index] - values[index] }
      values = wanted
    case .rows(let tensor, let indices):
      for (position, row) in indices.enumerated() where rows.contains(row) {
        let wanted = try reader.rows(
          change, tensor: tensor, position..<position + 1, columnCount: columnCount)
        let first = (row - rows.lowerBound) * columnCount
        for column in 0..<columnCount {
          delta[first + column] += wanted[column] - values[first + column]
          values[first + column] = wanted[column]
        }
      }
    }
  }

  /// What a product adds, as rows × columns; the number of a group is repeated for its columns.
  ///
  /// Throws `io`, `malformed`.
  private static func product(
    _ change: PairedChange, _ product: LowRank, groupSize: Int?, rows: Range<Int>,
    columnCount: Int, _ reader: UpdateReader
  ) throws(ModelError) -> [Float] {
    var added = [Float](repeating: 0, count: rows.count * product.right.vectorCount)
    try reader.add(change, product, rows: rows, to: &added)
    return groupSize.map { GroupShift.spread(added, columnsPerGroup: $0) } ?? added
  }

  private mutating func add(_ added: [Float]) {
    GroupShift.add(added, to: &values)
    GroupShift.add(added, to: &delta)
  }

  // W' = m · (W + ΔW) / ‖W₀ + ΔW‖ for each row. The norm is that of the base model with this
  // adapter alone (arXiv 2402.09353, equation 5).
  private mutating func rescale(_ added: [Float], _ lengths: [Float], firstRow: Int) {
    for index in lengths.indices {
      let row = firstRow + index
      let range = row * columnCount..<(row + 1) * columnCount
      var square = 0.0
      for index in range {
        let value = Double(base[index] + added[index])
        square += value * value
      }
      let factor = Float(Double(lengths[index]) / square.squareRoot())
      for index in range {
        let value = factor * (values[index] + added[index])
        delta[index] += value - values[index]
        values[index] = value
      }
    }
  }
}
