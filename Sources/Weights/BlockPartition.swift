package import Formats
package import TensorModel

/// How a tensor is divided into blocks, each of which a worker writes at once.
///
/// A block is a run of units. The unit is a row if rows matter, as for groups and adapters. Otherwise
/// it is the smallest run of bytes that can be decoded alone.
package struct BlockPartition: Sendable, Hashable {
  /// The unit that blocks consist of.
  package enum Unit: Sendable, Hashable {
    /// Rows of the tensor.
    case row
    /// Single numbers, or blocks of a block type; only for a tensor with one contiguous part.
    case element
  }

  /// The number of units in the tensor.
  package let unitCount: Int
  /// The number of units in a block; the last block may have fewer.
  package private(set) var unitsPerBlock: Int
  /// The number of units that are read at a time, which divides that of a block.
  package private(set) var unitsPerRead: Int
  /// The number of elements in a unit.
  package let elementsPerUnit: Int
  /// The number of units that share words in a part; a block contains all or none of these.
  package let unitsPerStep: Int
  /// How units are arranged in each part of the tensor.
  package let layouts: [RowLayout]

  private static let readByteCount = 1 << 20
  /// With stripes, units have only a few bytes of each, so more of them are read.
  private static let stripedReadByteCount = 1 << 22
  /// The bytes that a block takes at most in an output with stripes.
  private static let stripedBlockByteCount = 1 << 23
  private static let tileElementCount = 1 << 15

  /// Divides a tensor into blocks.
  ///
  /// About 1 MiB of source bytes are read at a time, or 4 MiB with stripes. That is a block, unless
  /// the output has stripes: blocks then take up to 8 MiB in the output, so that writes are long.
  ///
  /// - Parameters:
  ///   - info: The tensor.
  ///   - parts: Its stored tensors.
  ///   - unit: What blocks consist of.
  ///   - output: The row layouts of the output, which blocks must fit too; empty if there is none.
  ///   - multiple: A number of rows that a block must be a multiple of, such as an attention head.
  ///   - runElementCount: The approximate number of elements in a block; nil for the rule above.
  package init(
    _ info: TensorInfo, _ parts: [StoredTensor], unit: Unit, fitting output: [RowLayout] = [],
    multiple: Int = 1, runElementCount: Int? = nil
  ) {
    switch unit {
    case .element:
      let (count, byteCount) = info.encoding.block
      elementsPerUnit = count
      layouts = [RowLayout(rowByteCount: max(1, byteCount), byteCount: parts[0].byteCount)]
      unitCount = parts[0].byteCount / max(1, byteCount)
    case .row:
      elementsPerUnit = info.shape.columnCount
      layouts = parts.map(\.rows)
      unitCount = info.shape.rowCount
    }
    let step = (layouts + output).compactMap(\.rowsPerStep).reduce(1) {
      $0.leastCommonMultiple(with: $1)
    }
    unitsPerStep = step
    if let runElementCount, elementsPerUnit > 0 {
      unitsPerBlock = max(1, runElementCount / elementsPerUnit / step) * step
      unitsPerRead = unitsPerBlock
      return
    }
    let byteCount =
      layouts.allSatisfy(\.isContiguous) ? Self.readByteCount : Self.stripedReadByteCount
    let stepByteCount = layouts.reduce(0) { $0 + $1.byteCount(of: 0..<step) }
    unitsPerRead = byteCount / max(1, stepByteCount)
    unitsPerRead = max(1, min(unitsPerRead, unitCount / step)) * step
    if multiple > 1 {
      let step = step.leastCommonMultiple(with: multiple)
      unitsPerRead = max(1, unitsPerRead / step) * step
    }
    unitsPerBlock = unitsPerRead
    alignToCompressedBlocks(of: parts)
    if !output.allSatisfy(\.isContiguous) { widenBlocks(for: output) }
  }

  /// The number of blocks.
  package var blockCount: Int { (unitCount + unitsPerBlock - 1) / unitsPerBlock }

  /// The number of units that are decoded at a time, so that their floats stay in a near cache.
  package var unitsPerTile: Int {
    max(1, Self.tileElementCount / max(1, elementsPerUnit * unitsPerStep)) * unitsPerStep
  }

  /// The number of bytes that some units take in all parts together.
  package func byteCount(of units: Range<Int>) -> Int {
    layouts.reduce(0) { $0 + $1.byteCount(of: units) }
  }

  /// The units of a block.
  package func units(of block: Int) -> Range<Int> {
    block * unitsPerBlock..<min(unitCount, (block + 1) * unitsPerBlock)
  }

  /// The runs of units that are read at a time, of the units of a block.
  package func reads(_ units: Range<Int>) -> [Range<Int>] {
    stride(from: units.lowerBound, to: units.upperBound, by: unitsPerRead).map {
      $0..<min(units.upperBound, $0 + unitsPerRead)
    }
  }

  /// The runs of units that are decoded at a time, out of `count` units that were read.
  package func tiles(_ count: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: unitsPerTile).map { $0..<min(count, $0 + unitsPerTile) }
  }

  // If a read ended inside a compressed block, readers would decompress that compressed block twice.
  private mutating func alignToCompressedBlocks(of parts: [StoredTensor]) {
    guard let part = parts.first, part.blockByteCount < part.byteCount, unitsPerStep == 1,
      case let unitByteCount = layouts[0].bytesPerStep, unitByteCount > 0,
      part.blockByteCount % unitByteCount == 0
    else { return }
    let units = part.blockByteCount / unitByteCount
    unitsPerRead = max(units, unitsPerRead / units * units)
    unitsPerBlock = unitsPerRead
  }

  /// Makes blocks of several reads: as few blocks as the bytes of the output permit, of equal length.
  private mutating func widenBlocks(for output: [RowLayout]) {
    let byteCount = output.reduce(0) { $0 + $1.byteCount(of: 0..<unitCount) }
    let readCount = max(1, (unitCount + unitsPerRead - 1) / unitsPerRead)
    let least = max(1, (byteCount + Self.stripedBlockByteCount - 1) / Self.stripedBlockByteCount)
    let blockCount = min(readCount, least)
    unitsPerBlock = (readCount + blockCount - 1) / blockCount * unitsPerRead
  }
}

extension Encoding {
  /// The elements and bytes of the smallest piece that can be decoded alone.
  ///
  /// Both are 1 for groups and tiles, which cannot be decoded in pieces.
  package var block: (elementCount: Int, byteCount: Int) {
    switch self {
    case .plain(let type): (1, type.bitWidth / 8)
    case .foreign(let layout): (layout.elementCount, layout.byteCount)
    case .grouped, .scaled: (1, 1)
    }
  }
}
