/// How the numbers of a tensor are written down.
public enum Encoding: Sendable, Hashable {
  /// One number after another.
  case plain(ScalarType)

  /// Codes with a scale, and perhaps a bias, for each group of columns.
  case grouped(Grouping)

  /// Blocks in the layout of another project (`Q4_K`): sized and copied, decoded where known.
  case foreign(BlockLayout)
}

/// A block layout of another project.
public struct BlockLayout: Sendable, Hashable {
  /// The project's own name of the type, such as `Q4_K`.
  public var name: String

  /// Numbers in a block.
  public var elementCount: Int

  /// Bytes of a block.
  public var byteCount: Int

  /// A block layout.
  public init(name: String, elementCount: Int, byteCount: Int) {
    self.name = name
    self.elementCount = elementCount
    self.byteCount = byteCount
  }
}

extension Encoding: CustomStringConvertible {
  /// For people: `F16`, `Q4_K`, or the grouping in words.
  public var description: String {
    switch self {
    case .plain(let type): type.name
    case .grouped(let grouping): grouping.description
    case .foreign(let type): type.name
    }
  }
}
