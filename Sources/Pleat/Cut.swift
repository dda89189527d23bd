internal import Formats
internal import Quantization
internal import TensorModel

/// How a tensor is cut into blocks that one worker turns into their new form at a time.
///
/// The unit is a row where groups matter; elsewhere the smallest run of bytes that stands alone.
package struct Cut: Sendable, Hashable {
  /// Units in the tensor.
  package var unitCount: Int
  /// Units in a block, the last one excepted.
  package var unitsPerBlock: Int
  /// Numbers in a unit; 0 where bytes are only copied.
  package var elementsPerUnit: Int
  /// For each part of the source, the bytes of a unit.
  package var source: [Int]
  /// For each part of the target, the bytes of a unit.
  package var target: [Int]

  private static let blockByteCount = 1 << 20
  private static let tileElementCount = 1 << 15

  /// The cut of a tensor for what will happen to it.
  init(_ plan: TensorPlan, source: [StoredTensor], target: [StoredTensor]) {
    let isSinglePart = source.count == 1 && target.count == 1
    switch plan.action {
    case .copy where isSinglePart:
      let granule = Self.granule(plan.source.encoding)
      unitCount = source[0].byteCount / granule
      elementsPerUnit = 0
      (self.source, self.target) = ([granule], [granule])
    case .decode(let type) where isSinglePart && !plan.source.isGrouped:
      elementsPerUnit = Self.elements(plan.source.encoding)
      unitCount = plan.source.shape.elementCount / elementsPerUnit
      self.source = [Self.granule(plan.source.encoding)]
      self.target = [elementsPerUnit * type.bitWidth / 8]
    default:
      unitCount = plan.source.shape.rowCount
      elementsPerUnit = plan.source.shape.columnCount
      self.source = source.map(\.rowByteCount)
      self.target = target.map(\.rowByteCount)
    }
    let unitBytes = max(1, self.source.reduce(0, +))
    unitsPerBlock = max(1, min(max(unitCount, 1), Self.blockByteCount / unitBytes))
    alignToCompressedBlocks(of: source)
  }

  /// The number of blocks.
  var blockCount: Int { (unitCount + unitsPerBlock - 1) / unitsPerBlock }

  /// Units that are decoded at a time, so that their floats stay in a near cache.
  var unitsPerTile: Int { max(1, Self.tileElementCount / max(1, elementsPerUnit)) }

  /// The units of a block.
  func units(of block: Int) -> Range<Int> {
    block * unitsPerBlock..<min(unitCount, (block + 1) * unitsPerBlock)
  }

  // Reading whole compressed blocks avoids decompressing one twice.
  private mutating func alignToCompressedBlocks(of parts: [StoredTensor]) {
    guard let part = parts.first, part.blockByteCount < part.byteCount, source[0] > 0,
      part.blockByteCount % source[0] == 0
    else { return }
    let units = part.blockByteCount / source[0]
    unitsPerBlock = max(units, unitsPerBlock / units * units)
  }

  private static func granule(_ encoding: Encoding) -> Int {
    switch encoding {
    case .plain(let type): max(1, type.bitWidth / 8)
    case .foreign(let layout): layout.byteCount
    case .grouped: 1
    }
  }

  private static func elements(_ encoding: Encoding) -> Int {
    if case .foreign(let layout) = encoding { layout.elementCount } else { 1 }
  }

}
