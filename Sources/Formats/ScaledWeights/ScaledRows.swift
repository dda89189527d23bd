internal import Kernels
package import TensorModel

/// Decodes rows of codes with scales.
package struct ScaledRows {
  private let encoding: ScaledCodes
  private let columnCount: Int
  private let rowByteCount: Int
  private let scaleCount: Int  // in a row of scales
  private let table: CodeTable
  private let format: ScaleFormat

  /// The format of scales.
  private enum ScaleFormat {
    case floats(FloatFormat)
    case codes(CodeTable)
  }

  /// Creates a decoder of rows; nil for types that Pleat does not decode.
  package init?(_ encoding: ScaledCodes, columnCount: Int) {
    guard let table = CodeTable(encoding.codes) else { return nil }
    if let scales = CodeTable(encoding.scales) {
      format = .codes(scales)
    } else if encoding.scales.isDecodable {
      format = .floats(FloatFormat(encoding.scales))
    } else {
      return nil
    }
    self.encoding = encoding
    self.columnCount = columnCount
    self.table = table
    rowByteCount = columnCount * encoding.codes.bitWidth / 8
    let width = encoding.tileColumns ?? max(1, columnCount)
    scaleCount = (columnCount + width - 1) / width
  }

  /// Decodes some rows of buffers of codes, of scales and of the scale of the tensor.
  ///
  /// A number is the product of its code and its scale, in float32. The scale is first multiplied
  /// or divided by that of the tensor, as modelopt and compressed-tensors do.
  ///
  /// - Parameters:
  ///   - parts: The buffers; they begin with the same row, the first of a tile.
  ///   - rows: The rows to decode, counted from the beginning of the buffers. The first one is the
  ///     first of a tile.
  ///   - values: Receives the numbers; its length is changed to fit.
  package func decode(_ parts: [[UInt8]], rows: Range<Int>, into values: inout [Float]) {
    let count = rows.count * columnCount
    if values.count != count { values = Array(repeating: 0, count: count) }
    guard count > 0 else { return }
    let height = encoding.tileRows ?? max(1, rows.upperBound)
    let first = encoding.tileRows == nil ? 0 : rows.lowerBound / height
    let tiles = (rows.count + height - 1) / height
    let scales = scales(parts, first * scaleCount..<(first + tiles) * scaleCount)
    let width = encoding.tileColumns ?? columnCount
    let tileByteCount = width * encoding.codes.bitWidth / 8
    let bytes = parts[0]
    let codes = bytes.span
    var target = values.mutableSpan
    for row in 0..<rows.count {
      let start = (rows.lowerBound + row) * rowByteCount
      let firstScale = encoding.tileRows.map { row / $0 * scaleCount } ?? 0
      for tile in 0..<scaleCount {
        let begin = row * columnCount + tile * width
        let end = min(begin + width, (row + 1) * columnCount)
        table.decode(
          codes, at: start + tile * tileByteCount, scale: scales[firstScale + tile],
          into: &target, begin..<end)
      }
    }
  }

  /// Some of the scales, with the factor of the tensor.
  private func scales(_ parts: [[UInt8]], _ range: Range<Int>) -> [Float] {
    let width = encoding.scales.bitWidth / 8
    let bytes = parts[1][range.lowerBound * width..<range.upperBound * width]
    var scales = [Float](repeating: 0, count: range.count)
    switch format {
    case .floats(let format):
      var target = scales.mutableSpan
      format.decode(bytes.span, into: &target)
    case .codes(let table): scales = bytes.map { table.values[Int($0)] }
    }
    guard encoding.factor != .none else { return scales }
    let number = ParameterField(part: 2, stride: 4).read(parts[2], .float32)[0]
    return encoding.factor == .multiplier
      ? scales.map { $0 * number } : scales.map { $0 / number }
  }
}
