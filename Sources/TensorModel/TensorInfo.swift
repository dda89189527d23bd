/// What is known of a tensor before any of its numbers is read.
public struct TensorInfo: Sendable, Hashable {
  /// The name in the file, as it is there.
  public var name: String

  /// The extents of the numbers it stands for, row-major.
  public var shape: Shape

  /// How the numbers are written.
  public var encoding: Encoding

  /// A description of a tensor.
  public init(name: String, shape: Shape, encoding: Encoding) {
    self.name = name
    self.shape = shape
    self.encoding = encoding
  }

  /// Whether the numbers are codes with a scale for each group.
  public var isGrouped: Bool {
    if case .grouped = encoding { true } else { false }
  }
}
