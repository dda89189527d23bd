internal import Adapters
internal import Bytes
internal import Formats
public import TensorModel
internal import Weights

extension AdapterExport {
  /// Writes the files.
  ///
  /// - Parameters:
  ///   - replacing: Whether an existing output is replaced.
  ///   - verifying: Whether the output is re-read and compared before it is renamed into place.
  /// - Returns: How much was written.
  /// - Throws: `io`, and what reading the adapter throws.
  public func write(replacing: Bool, verifying: Bool = false) throws(ModelError) -> WrittenSize {
    let writing = OutputWriting(
      layout: layout, readers: [applied.file.model.reader], replaces: replacing,
      verifies: verifying)
    return try writing(fill: { (sink) throws(ModelError) in try writeAll(to: sink) }).size
  }

  private func writeAll(to sink: any BlockSink) throws(ModelError) {
    if let companion { try sink.writeCompanion(0, at: 0, companion) }
    let reader = UpdateReader([applied.numbers])
    for (index, factor) in factors.enumerated() {
      var (left, right) = try reader.factors(factor.module.change, factor.module.product)
      try check(left + right, factor)
      let rank = factor.module.product.rank
      if let map = factor.rows { left = map.reordered(left, rowLength: rank) }
      if factor.module.repeats > 1 {
        right = GroupShift.spread(right, columnsPerGroup: factor.module.repeats)
      }
      // The second factor, B, is multiplied by what the module's scale is besides alpha / rank.
      for (part, side) in [factor.a, factor.b].enumerated() {
        var values = side.isLeft ? left : right
        // The left factor is vectors × rank, the right factor rank × vectors.
        if side.isLeft == side.isRankMajor {
          values = Self.transposed(
            values, rows: side.isLeft ? values.count / rank : rank)
        }
        if part == 1, factor.module.factor != 1 {
          values = values.map { $0 * factor.module.factor }
        }
        // All bytes of floats are bytes of the array.
        let bytes = unsafe values.withUnsafeBytes { unsafe Array($0) }
        try sink.write(
          [PartBlock(stored: 2 * index + part, offset: 0, bytes: bytes)], ticket: 2 * index + part)
      }
    }
  }

  private func check(_ values: [Float], _ factor: Factors) throws(ModelError) {
    guard let value = values.first(where: { !$0.isFinite }) else { return }
    throw ModelError(
      .malformed, "a number of the adapter is not finite", file: applied.file.adapter.path,
      tensor: factor.module.change.tensors(of: applied.file.adapter).joined(separator: ", "),
      found: "\(value)")
  }

  private static func transposed(_ values: [Float], rows: Int) -> [Float] {
    let columns = rows == 0 ? 0 : values.count / rows
    var result = values
    for row in 0..<rows {
      for column in 0..<columns { result[column * rows + row] = values[row * columns + column] }
    }
    return result
  }
}
