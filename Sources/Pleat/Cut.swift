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
  /// Numbers in a unit.
  package var elementsPerUnit: Int
  /// Units that share words in a part, and so are not taken apart.
  package var unitsPerStep: Int
  /// For each part of the source, where its units are.
  package var source: [RowLayout]
  /// For each part of the target, where its units are.
  package var target: [RowLayout]

  private static let blockByteCount = 1 << 20
  /// Of lines that every row has a place in, few bytes would be read at a time.
  private static let lineBlockByteCount = 1 << 22
  private static let tileElementCount = 1 << 15

  /// The cut of a tensor for what will happen to it.
  init(_ plan: TensorPlan, source: [StoredTensor], target: [StoredTensor]) {
    let order = plan.placement?.rowOrder
    // Rows that change places have to be whole ones; the numbers of a vector are units of their own.
    let isSinglePart =
      source.count == 1 && target.count == 1 && (order == nil || plan.source.shape.rank < 2)
    switch plan.action {
    case .copy where isSinglePart && !plan.source.isGrouped:
      let granule = Self.granule(plan.source.encoding)
      unitCount = source[0].byteCount / granule
      elementsPerUnit = Self.elements(plan.source.encoding)
      self.source = [RowLayout(rowByteCount: granule, byteCount: source[0].byteCount)]
      self.target = self.source
    case .decode(let type) where isSinglePart && !plan.source.isGrouped:
      elementsPerUnit = Self.elements(plan.source.encoding)
      unitCount = plan.source.shape.elementCount / elementsPerUnit
      self.source = [
        RowLayout(
          rowByteCount: Self.granule(plan.source.encoding), byteCount: source[0].byteCount)
      ]
      self.target = [
        RowLayout(
          rowByteCount: elementsPerUnit * type.bitWidth / 8, byteCount: target[0].byteCount)
      ]
    default:
      unitCount = plan.source.shape.rowCount
      elementsPerUnit = plan.source.shape.columnCount
      self.source = source.map(\.rows)
      self.target = target.map(\.rows)
    }
    let layouts = self.source + self.target
    unitsPerStep = layouts.compactMap(\.rowsPerStep).reduce(1, Self.commonMultiple)
    let blockByteCount =
      layouts.allSatisfy(\.isContiguous) ? Self.blockByteCount : Self.lineBlockByteCount
    unitsPerBlock = blockByteCount / max(1, Self.byteCount(of: 0..<unitsPerStep, self.source))
    unitsPerBlock = max(1, min(unitsPerBlock, unitCount / unitsPerStep)) * unitsPerStep
    if let order {
      // The rows of a head change places with each other.
      let step = Self.commonMultiple(unitsPerStep, order.headSize)
      unitsPerBlock = max(1, unitsPerBlock / step) * step
    }
    if plan.action == .omit { unitCount = 0 }
    alignToCompressedBlocks(of: source)
  }

  /// The number of blocks.
  var blockCount: Int { (unitCount + unitsPerBlock - 1) / unitsPerBlock }

  /// Units that are decoded at a time, so that their floats stay in a near cache.
  var unitsPerTile: Int {
    max(1, Self.tileElementCount / max(1, elementsPerUnit * unitsPerStep)) * unitsPerStep
  }

  /// The bytes that some units take in the source.
  func sourceByteCount(of units: Range<Int>) -> Int { Self.byteCount(of: units, source) }

  /// The units of a block.
  func units(of block: Int) -> Range<Int> {
    block * unitsPerBlock..<min(unitCount, (block + 1) * unitsPerBlock)
  }

  // Reading whole compressed blocks avoids decompressing one twice.
  private mutating func alignToCompressedBlocks(of parts: [StoredTensor]) {
    guard let part = parts.first, part.blockByteCount < part.byteCount, unitsPerStep == 1,
      case let unitByteCount = source[0].bytesPerStep, unitByteCount > 0,
      part.blockByteCount % unitByteCount == 0
    else { return }
    let units = part.blockByteCount / unitByteCount
    unitsPerBlock = max(units, unitsPerBlock / units * units)
  }

  private static func granule(_ encoding: Encoding) -> Int {
    switch encoding {
    case .plain(let type): max(1, type.bitWidth / 8)
    case .foreign(let layout): layout.byteCount
    case .grouped: preconditionFailure("rows are the units of groups")
    }
  }

  private static func elements(_ encoding: Encoding) -> Int {
    if case .foreign(let layout) = encoding { layout.elementCount } else { 1 }
  }

  private static func byteCount(of units: Range<Int>, _ parts: [RowLayout]) -> Int {
    parts.reduce(0) { $0 + $1.byteCount(of: units) }
  }

  /// The least common multiple of two numbers above 0.
  static func commonMultiple(_ left: Int, _ right: Int) -> Int {
    var (a, b) = (left, right)
    while b != 0 { (a, b) = (b, a % b) }
    return left / a * right
  }
}
