/// How the numbers of a tensor are stored.
public enum Encoding: Sendable, Hashable {
  /// Plain numbers of one type, one after another.
  case plain(ScalarType)

  /// Quantized codes, with a scale and possibly an offset for each group of columns.
  case grouped(Grouping)

  /// Codes that are numbers themselves, with a scale for each tile, such as FP8 and NVFP4.
  ///
  /// Pleat reads them, and writes what they decode to.
  // Both are large and rare in a catalog, which may have 100,000 tensors.
  indirect case scaled(ScaledCodes)

  /// Blocks in the layout of another project, such as `Q4_K`.
  ///
  /// Pleat can copy every such block, and decode those whose layout it knows.
  indirect case foreign(BlockLayout)
}

/// A block layout of another project.
public struct BlockLayout: Sendable, Hashable {
  /// The project's own name for the type, such as `Q4_K`.
  public var name: String

  /// The number of elements in a block.
  public var elementCount: Int

  /// The length of a block in bytes.
  public var byteCount: Int

  /// Creates a block layout.
  public init(name: String, elementCount: Int, byteCount: Int) {
    self.name = name
    self.elementCount = elementCount
    self.byteCount = byteCount
  }
}

extension Encoding: CustomStringConvertible {
  /// A text for people: `F16`, `Q4_K`, or groups and tiles in words.
  public var description: String {
    switch self {
    case .plain(let type): type.name
    case .grouped(let grouping): grouping.description
    case .scaled(let codes): codes.description
    case .foreign(let type): type.name
    }
  }
}
