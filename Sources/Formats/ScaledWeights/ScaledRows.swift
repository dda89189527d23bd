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
  private let rowsPerFactor: Int?  // nil for one factor of all rows

  /// The format of scales.
  private enum ScaleFormat {
    case floats(FloatFormat)
    case codes(CodeTable)
    case nested(ScaledCodes.Nesting)
  }

  /// The places of parts that not all weights have.
  private enum Part {
    static let factor = 2
    static let factorOfBlocks = 1
    static let table = 2
    static let outerScales = 3
    static let scaleTable = 4
  }

  /// Creates a decoder of rows; nil for types that Pleat does not decode.
  ///
  /// - Parameters:
  ///   - encoding: The encoding.
  ///   - columnCount: The length of a row.
  ///   - layouts: How rows are arranged in the parts, as in `ScaledCodes.parts(of:)`.
  package init?(_ encoding: ScaledCodes, columnCount: Int, layouts: [RowLayout]) {
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
    let factor = encoding.isInBlocks ? Part.factorOfBlocks : Part.factor
    let hasOwn = encoding.factor == .multiplier || encoding.factor == .divisor
    rowsPerFactor = hasOwn ? layouts[factor].rowsPerStep : nil
    self.encoding = encoding
    self.columnCount = columnCount
    rowByteCount = columnCount * encoding.bitWidth / 8
    let width = encoding.tileColumns ?? max(1, columnCount)
    scaleCount = (columnCount + width - 1) / width
  }

  /// Decodes some rows of buffers of codes, of scales, and of what both need.
  ///
  /// A number is the product of its code and its scale, in float32. The scale is first multiplied
  /// or divided by that of the matrix, as modelopt and compressed-tensors do, or computed from its
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
    if encoding.isInBlocks { return decodeBlocks(parts, rows: rows, into: &values) }
    decode(parts, rows: rows, firstFactorRow: 0, into: &values)
  }

  /// The same for codes and scales in blocks, which are split first.
  private func decodeBlocks(_ parts: [[UInt8]], rows: Range<Int>, into values: inout [Float]) {
    let layout = FP4Blocks.nvfp4
    let count = rows.count * rowByteCount / layout.codeByteCount
    let first = rows.lowerBound * rowByteCount / layout.codeByteCount
    var codes = [UInt8](repeating: 0, count: count * layout.codeByteCount)
    var scales = [UInt8](repeating: 0, count: count * layout.scaleCount)
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    let blocks = parts[0][first * layout.byteCount..<(first + count) * layout.byteCount]
    layout.split(blocks.span, codes: &codeSpan, scales: &scaleSpan)
    decode(
      [codes, scales, parts[Part.factorOfBlocks]], rows: 0..<rows.count,
      firstFactorRow: rows.lowerBound, into: &values)
  }

  /// Decodes rows of buffers whose factors begin `firstFactorRow` rows before the other parts.
  private func decode(
    _ parts: [[UInt8]], rows: Range<Int>, firstFactorRow: Int, into values: inout [Float]
  ) {
    let count = values.count
    let height = encoding.tileRows ?? max(1, rows.upperBound)
    let first = encoding.tileRows == nil ? 0 : rows.lowerBound / height
    let tiles = (rows.count + height - 1) / height
    var scales = scales(parts, first * scaleCount..<(first + tiles) * scaleCount)
    multiply(&scales, parts, firstRow: firstFactorRow + first * height, height)
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

  /// Some of the scales, without factors.
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
    return scales
  }

  /// Multiplies or divides scales of tiles of `height` rows by the factors of their matrices.
  private func multiply(
    _ scales: inout [Float], _ parts: [[UInt8]], firstRow: Int, _ height: Int
  ) {
    guard encoding.factor == .multiplier || encoding.factor == .divisor else { return }
    let factors = floats(parts[Part.factor])
    for tile in 0..<scales.count / scaleCount {
      let factor = factors[rowsPerFactor.map { (firstRow + tile * height) / $0 } ?? 0]
      for index in tile * scaleCount..<(tile + 1) * scaleCount {
        if encoding.factor == .multiplier {
          scales[index] *= factor
        } else {
          scales[index] /= factor
        }
      }
    }
  }

  private func floats(_ part: [UInt8]) -> [Float] {
    ParameterField(part: 0, stride: 4).read(part, .float32)
  }
}
