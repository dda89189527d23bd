package import Formats
package import TensorModel

/// How a tensor is divided into blocks, each of which a worker reads at once.
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
  /// The number of elements in a unit.
  package let elementsPerUnit: Int
  /// The number of units that share words in a part; a block contains all or none of these.
  package let unitsPerStep: Int
  /// How units are arranged in each part of the tensor.
  package let layouts: [RowLayout]

  private static let blockByteCount = 1 << 20
  /// With stripes, a block has only a few bytes of each, so blocks are larger.
  private static let stripedBlockByteCount = 1 << 22
  private static let tileElementCount = 1 << 15

  /// Divides a tensor into blocks.
  ///
  /// - Parameters:
  ///   - info: The tensor.
  ///   - parts: Its stored tensors.
  ///   - unit: What blocks consist of.
  ///   - others: Row layouts that blocks must fit too, such as those of the output.
  ///   - multiple: A number of rows that a block must be a multiple of, such as an attention head.
  ///   - runElementCount: The approximate number of elements in a block; nil for blocks of about
  ///     1 MiB of source bytes, or 4 MiB with stripes.
  package init(
    _ info: TensorInfo, _ parts: [StoredTensor], unit: Unit, fitting others: [RowLayout] = [],
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
    let all = layouts + others
    let step = all.compactMap(\.rowsPerStep).reduce(1) { $0.leastCommonMultiple(with: $1) }
    unitsPerStep = step
    if let runElementCount, elementsPerUnit > 0 {
      unitsPerBlock = max(1, runElementCount / elementsPerUnit / step) * step
      return
    }
    let byteCount =
      all.allSatisfy(\.isContiguous) ? Self.blockByteCount : Self.stripedBlockByteCount
    let stepByteCount = layouts.reduce(0) { $0 + $1.byteCount(of: 0..<step) }
    unitsPerBlock = byteCount / max(1, stepByteCount)
    unitsPerBlock = max(1, min(unitsPerBlock, unitCount / step)) * step
    if multiple > 1 {
      let step = step.leastCommonMultiple(with: multiple)
      unitsPerBlock = max(1, unitsPerBlock / step) * step
    }
    alignToCompressedBlocks(of: parts)
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

  /// The runs of units that are decoded at a time, within a block of `count` units.
  package func tiles(_ count: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: unitsPerTile).map { $0..<min(count, $0 + unitsPerTile) }
  }

  // If a block ended inside a compressed block, readers would decompress that compressed block twice.
  private mutating func alignToCompressedBlocks(of parts: [StoredTensor]) {
    guard let part = parts.first, part.blockByteCount < part.byteCount, unitsPerStep == 1,
      case let unitByteCount = layouts[0].bytesPerStep, unitByteCount > 0,
      part.blockByteCount % unitByteCount == 0
    else { return }
    let units = part.blockByteCount / unitByteCount
    unitsPerBlock = max(units, unitsPerBlock / units * units)
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
