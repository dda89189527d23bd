internal import Kernels
package import TensorModel

/// Decodes rows of codes with scales.
package struct ScaledRows {
  private let encoding: ScaledCodes
  private let columnCount: Int
  private let rowByteCount: Int
  private let scaleCount: Int  // in a row of scales
  private let table: CodeTable?  // nil if it is a part
  private let format: ScaleFormat

  /// The format of scales.
  private enum ScaleFormat {
    case floats(FloatFormat)
    case codes(CodeTable)
    case nested(ScaledCodes.Nesting)
  }

  /// The places of parts that not all weights have.
  private enum Part {
    static let factor = 2
    static let table = 2
    static let outerScales = 3
    static let scaleTable = 4
  }

  /// Creates a decoder of rows; nil for types that Pleat does not decode.
  package init?(_ encoding: ScaledCodes, columnCount: Int) {
    table = encoding.table == nil ? CodeTable(encoding.codes) : nil
    guard table != nil || encoding.table != nil else { return nil }
    if let nesting = encoding.nesting {
      format = .nested(nesting)
    } else if let scales = CodeTable(encoding.scales) {
      format = .codes(scales)
    } else if encoding.scales.isDecodable {
      format = .floats(FloatFormat(encoding.scales))
    } else {
      return nil
    }
    self.encoding = encoding
    self.columnCount = columnCount
    rowByteCount = columnCount * encoding.bitWidth / 8
    let width = encoding.tileColumns ?? max(1, columnCount)
    scaleCount = (columnCount + width - 1) / width
  }

  /// Decodes some rows of buffers of codes, of scales, and of what both need.
  ///
  /// A number is the product of its code and its scale, in float32. The scale is first multiplied
  /// or divided by that of the tensor, as modelopt and compressed-tensors do, or computed from its
  /// own code, as bitsandbytes does.
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
    let tileByteCount = width * encoding.bitWidth / 8
    let table = self.table ?? CodeTable(highFirst: floats(parts[Part.table]))
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
    // bitsandbytes divides the product, and not the scale.
    if encoding.factor == .largestCode {
      for index in 0..<count { target[index] *= 1 / 127 }
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
    case .nested(let nesting):
      let (outer, numbers) = (floats(parts[Part.outerScales]), floats(parts[Part.scaleTable]))
      for (index, code) in zip(range, bytes) {
        let product = numbers[Int(code)] * outer[index / nesting.blockSize]
        scales[index - range.lowerBound] = product + nesting.offset
      }
    }
    switch encoding.factor {
    case .none, .largestCode: return scales
    case .multiplier, .divisor:
      let number = floats(parts[Part.factor])[0]
      return encoding.factor == .multiplier
        ? scales.map { $0 * number } : scales.map { $0 / number }
    }
  }

  private func floats(_ part: [UInt8]) -> [Float] {
    ParameterField(part: 0, stride: 4).read(part, .float32)
  }
}
