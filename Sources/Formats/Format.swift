internal import Kernels
public import TensorModel

/// A container, a weight codec and a config dialect under a name that users give after `--to`.
public struct Format: Sendable {
  /// The name on the command line.
  public let name: String
  /// One sentence for help and tables.
  public let summary: String
  /// The code widths of grouped weights in bits; empty if the format stores only plain numbers.
  public let bits: [Int]
  /// The group sizes that `quantize` offers, in columns; the default comes first.
  public let groupSizes: [Int]
  /// Whether a whole row may be one group.
  public let allowsRowGroups: Bool
  /// How `quantize` treats token embeddings, unless a rule says otherwise.
  public let embeddings: Treatment
  /// How `quantize` treats the output head, and embeddings that also serve as the head.
  public let head: Treatment

  /// How `quantize` treats a weight that is not an ordinary linear weight.
  public enum Treatment: Sendable {
    /// It is not quantized.
    case keep
    /// It is quantized like the linear weights.
    case quantize
    /// It is quantized to 8 bits.
    case eightBits
  }

  /// Whether all floating-point tensors should have one type, that of scales and biases.
  public var usesOneFloatType = false

  /// The offset that `quantize` tries first among those that the user's options allow.
  public var usualOffset: Grouping.Offset?

  /// The mix of llama.cpp that `quantize` makes if the user chooses nothing; nil for groups.
  public var usualMix: String?

  /// The value of the metadata key `format` that marks its files; nil for no mark.
  package var metadataMark: String?

  /// Whether its tensors have the names and row orders of llama.cpp.
  package var usesGGUFNames = false

  /// Whether its tensors have the names of mlx-lm.
  package var usesMLXNames = false

  package let container: any Container.Type
  package var codec: any WeightCodec
  /// How `config.json` describes the quantization; nil if the tensors describe themselves.
  package var dialect: (any ConfigDialect)?
}

extension Format {
  /// Whether the format can store tensors of this encoding, regardless of their shape.
  package func carries(_ encoding: Encoding) -> Admission { codec.admission(of: encoding) }

  /// Whether `quantize` can make such groups for the format, regardless of a weight's shape.
  package func makes(_ grouping: Grouping) -> Admission {
    guard bits.contains(grouping.bits) else {
      return .refused("it stores codes of \(bits.choices) bits")
    }
    return carries(.grouped(grouping))
  }

  /// Whether the format can store a tensor, by its encoding, its name and its shape.
  package func admission(of tensor: TensorInfo) -> Admission {
    let admission = carries(tensor.encoding)
    if case .refused = admission { return admission }
    guard tensor.hasParts else { return admission }
    if let ending = codec.groupedNameEnding, !tensor.name.hasSuffix(ending) {
      return .refused("\(name) quantizes only tensors whose names end in \(ending)")
    }
    guard case .grouped(let grouping) = tensor.encoding else { return admission }
    return codec.shapeRefusal(tensor.shape, grouping).map { .refused($0) } ?? admission
  }

  /// Whether groups with this offset can be stored exactly, for at least one code width.
  package func holds(_ offset: Grouping.Offset) -> Bool {
    bits.contains { bits in
      let grouping = Grouping(
        bits: bits, groupSize: groupSizes[0], offset: offset, parameters: .f16)
      return carries(.grouped(grouping)) == .exact
    }
  }

  /// Whether it stores the blocks of llama.cpp that are no groups.
  package var holdsBlocks: Bool { carries(BlockType.q4_K.encoding) == .exact }

  /// Whether both formats store a weight as the same bytes.
  package func sharesLayout(with other: Format) -> Bool { self == other }

  /// Whether its files are a Hugging Face checkpoint, which `config.json` describes.
  package var isCheckpoint: Bool { container == SafetensorsContainer.self }

  /// The format for the same model without groups.
  ///
  /// It is another one if the format is named after a layout of groups.
  public var forPlainNumbers: Format {
    dialect == nil || usesMLXNames ? self : .safetensors
  }

  /// Whether a model in this format needs a `config.json`.
  package var needsConfig: Bool { dialect != nil }
}

extension Format: Equatable {
  /// Whether both formats have the same name.
  public static func == (left: Format, right: Format) -> Bool { left.name == right.name }
}
