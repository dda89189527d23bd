/// The description of a tensor: its name, shape and encoding.
public struct TensorInfo: Sendable, Hashable {
  /// The name as stored in the file.
  public var name: String

  /// The dimensions of the decoded tensor, row-major.
  public var shape: Shape

  /// How the numbers are stored.
  public var encoding: Encoding

  /// Creates the description of a tensor.
  public init(name: String, shape: Shape, encoding: Encoding) {
    self.name = name
    self.shape = shape
    self.encoding = encoding
  }

  /// Whether the numbers are quantized in groups.
  public var isGrouped: Bool {
    if case .grouped = encoding { true } else { false }
  }

  /// Whether the numbers are codes that are numbers themselves, with a scale for each tile.
  public var isScaled: Bool { scaled != nil }

  /// The codes and scales that the numbers consist of; nil for other encodings.
  public var scaled: ScaledCodes? {
    if case .scaled(let codes) = encoding { codes } else { nil }
  }

  /// Whether the numbers are in several stored tensors, which can only be decoded together.
  package var hasParts: Bool { isGrouped || isScaled }
}
