public import TensorModel

/// A container and a spelling: something that a user can name after `--to`.
public struct Format: Sendable {
  /// The name on the command line.
  public let name: String
  /// One sentence for help and tables.
  public let summary: String
  /// The code widths that grouped weights may have; none when it holds plain numbers only.
  public let bits: [Int]
  /// The groups that quantizing may make, in columns, the one that users expect first.
  public let groupSizes: [Int]
  /// Whether a whole row may be one group.
  public let allowsRowGroups: Bool
  /// What quantizing does with token embeddings, unless a rule says otherwise.
  public let embeddings: Treatment
  /// What quantizing does with the output head, and with embeddings that serve as the head.
  public let head: Treatment

  /// What quantizing does with a weight that is not an ordinary linear one.
  public enum Treatment: Sendable {
    /// It stays as it is.
    case keep
    /// It is treated like the linear weights.
    case quantize
    /// It gets 8 bits.
    case eightBits
  }

  /// Whether numbers of all tensors are best of one type, that of scales and biases.
  public var usesOneFloatType = false

  /// What quantizing stores beside the scale, where it has the choice and nothing is said.
  public var usualOffset: Grouping.Offset?

  package let container: any Container.Type
  package var spelling: any Spelling

  /// Whether weights of this description can be written.
  package func admits(_ info: TensorInfo) -> Admission { spelling.admits(info) }

  /// Whether groups of some width may have such offsets.
  package func holds(_ offset: Grouping.Offset) -> Bool {
    bits.contains { bits in
      let grouping = Grouping(
        bits: bits, groupSize: groupSizes[0], offset: offset, parameters: .f16)
      let info = TensorInfo(
        name: "", shape: Shape(1, groupSizes[0]), encoding: .grouped(grouping))
      return admits(info) == .exact
    }
  }

  /// Whether `config.json` has to be beside the tensors.
  package var needsConfig: Bool { !spelling.configurationKeys.isEmpty }
}

extension Format: Equatable {
  /// Whether both are the same format, which their names tell.
  public static func == (left: Format, right: Format) -> Bool { left.name == right.name }
}
