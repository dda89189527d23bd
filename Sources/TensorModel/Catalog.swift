/// The contents of a model: its tensors, metadata and companion files.
public struct Catalog: Sendable {
  /// The tensors in file order; no two have the same name.
  public var tensors: [TensorInfo]

  /// The metadata entries of the file.
  public var metadata: Metadata

  /// The small files that belong to the weights, such as `config.json` and the tokenizer.
  public var companions: [Companion]

  /// Creates a catalog.
  public init(
    tensors: [TensorInfo] = [], metadata: Metadata = Metadata(), companions: [Companion] = []
  ) {
    self.tensors = tensors
    self.metadata = metadata
    self.companions = companions
  }

  /// The number of elements in all tensors together.
  public var elementCount: Int { tensors.reduce(0) { $0 &+ $1.shape.elementCount } }
}

/// A file that belongs to a model and holds no weights.
public struct Companion: Sendable, Hashable {
  /// The file name, with its folder if it is in a sub-folder, as in `1_Pooling/config.json`.
  public var name: String

  /// The length in bytes.
  public var byteCount: Int

  /// Creates the description of a companion file.
  public init(name: String, byteCount: Int) {
    self.name = name
    self.byteCount = byteCount
  }
}
