internal import Kernels
package import TensorModel

/// A part of a weight of codes with scales.
package struct ScaledPart: Sendable, Hashable {
  /// What it holds.
  package let role: PartRole
  /// How the rows of the weight are arranged in it.
  package let rows: RowLayout
}

extension ScaledCodes {
  /// The parts of a weight of some shape, in order: codes, scales, and what both need.
  ///
  /// A table of codes, or the factor of a matrix, belongs to the weight as a whole. Matrices of a
  /// stack have a factor each. Scales that are quantized themselves have scales and a table of their
  /// own. Codes and scales in blocks are one part.
  package func parts(of shape: Shape) -> [ScaledPart] {
    let (rowCount, columns) = (shape.rowCount, shape.columnCount)
    if isInBlocks {
      let row = columns / BlockType.nvfp4.elementCount * BlockType.nvfp4.byteCount
      let blocks = RowLayout(rowByteCount: row, byteCount: rowCount * row)
      return [ScaledPart(role: .blocks, rows: blocks), factorPart(of: shape)]
    }
    let width = tileColumns ?? max(1, columns)
    let scalesInRow = (columns + width - 1) / width
    let scaleRow = scalesInRow * scales.bitWidth / 8
    let codeRow = columns * bitWidth / 8
    var parts = [
      ScaledPart(
        role: .codes, rows: RowLayout(rowByteCount: codeRow, byteCount: rowCount * codeRow))
    ]
    var tileCount = 1
    if let tileRows {
      tileCount = rowCount == 0 ? 0 : (rowCount - 1) / tileRows + 1
      parts.append(
        ScaledPart(
          role: .scales,
          rows: RowLayout(
            stripeCount: 1, stripeByteCount: tileCount * scaleRow, rowsPerStep: tileRows,
            bytesPerStep: scaleRow)))
    } else {
      parts.append(ScaledPart(role: .scales, rows: RowLayout(wholeByteCount: scaleRow)))
    }
    func whole(_ role: PartRole, _ count: Int) {
      parts.append(ScaledPart(role: role, rows: RowLayout(wholeByteCount: 4 * count)))
    }
    if factor == .multiplier || factor == .divisor { parts.append(factorPart(of: shape)) }
    if table != nil { whole(.table, 16) }
    if let nesting {
      // Rows are read together until their scales fill blocks.
      let step = scalesInRow.leastCommonMultiple(with: nesting.blockSize) / max(1, scalesInRow)
      let count = (tileCount * scalesInRow + nesting.blockSize - 1) / nesting.blockSize
      parts.append(
        ScaledPart(
          role: .outerScales,
          rows: RowLayout(
            stripeCount: 1, stripeByteCount: 4 * count, rowsPerStep: step,
            bytesPerStep: step * scalesInRow / nesting.blockSize * 4)))
      whole(.scaleTable, 256)
    }
    return parts
  }

  private func factorPart(of shape: Shape) -> ScaledPart {
    let rank = shape.rank
    guard rank > 2 else { return ScaledPart(role: .factor, rows: RowLayout(wholeByteCount: 4)) }
    let matrixRows = shape.dimensions[rank - 2]
    let count = shape.rowCount / max(1, matrixRows)
    return ScaledPart(
      role: .factor,
      rows: RowLayout(
        stripeCount: 1, stripeByteCount: 4 * count, rowsPerStep: max(1, matrixRows),
        bytesPerStep: 4))
  }

  /// Whether tiles, blocks and types fit a weight of some shape, so that Pleat can decode it.
  ///
  /// Weights that `ScaledWeights` finds do.
  package func fits(_ shape: Shape) -> Bool {
    let (rowCount, columns) = (shape.rowCount, shape.columnCount)
    if isInBlocks {
      return shape.rank >= 2 && shape.elementCount > 0 && isNVFP4 && factor == .multiplier
        && columns % BlockType.nvfp4.elementCount == 0
    }
    guard shape.rank >= 2, shape.elementCount > 0, columns * bitWidth % 8 == 0,
      table != nil ? codes == .u8 : Self.codeTypes.contains(codes),
      nesting != nil ? scales == .u8 : Self.scaleTypes.contains(scales),
      tileRows.map({ (1...rowCount).contains($0) }) ?? true,
      tileColumns.map({ (1...columns).contains($0) && $0 * bitWidth % 8 == 0 }) ?? true
    else { return false }
    // A tile does not cross from one matrix of a stack to the next.
    let matrixRows = shape.dimensions[shape.rank - 2]
    if let tileRows, shape.rank > 2, matrixRows % tileRows != 0 { return false }
    let hasOwn = factor == .multiplier || factor == .divisor
    if hasOwn, shape.rank > 2, tileRows == nil { return false }
    if factor == .largestCode, codes != .i8 || scales != .f32 { return false }
    guard table != nil || nesting != nil else { return true }
    // Blocks of codes with a table, or of scales, are runs of a row.
    guard table != nil, factor == .none, tileRows == 1, let tileColumns, columns % tileColumns == 0
    else { return false }
    guard let nesting else { return scales == .f32 }
    return nesting.offset.isFinite && (1...Self.largestNestedBlock).contains(nesting.blockSize)
  }

  private static let codeTypes: Set<ScalarType> = [.f4, .f6e2m3, .f8e4m3, .f8e5m2, .i8]
  private static let scaleTypes: Set<ScalarType> = [.f16, .bf16, .f32, .f8e4m3, .f8e8m0]

  /// The largest number of scales that share a scale; the blocks of bitsandbytes have 256.
  package static let largestNestedBlock = 1 << 16
}
