/// The contents of a model: tensors in file order, metadata, and the files that belong to it.
public struct Catalog: Sendable {
  /// The tensors; names do not repeat.
  public var tensors: [TensorInfo]

  /// Named values of the file.
  public var metadata: Metadata

  /// Small files that travel with the weights, such as `config.json` and the tokenizer.
  public var companions: [Companion]

  /// A catalog.
  public init(
    tensors: [TensorInfo] = [], metadata: Metadata = Metadata(), companions: [Companion] = []
  ) {
    self.tensors = tensors
    self.metadata = metadata
    self.companions = companions
  }

  /// The number of weights in all tensors.
  public var elementCount: Int { tensors.reduce(0) { $0 &+ $1.shape.elementCount } }
}

/// A file that belongs to a model without holding weights.
public struct Companion: Sendable, Hashable {
  /// The file name, without folders.
  public var name: String

  /// The length in bytes.
  public var byteCount: Int

  /// A description of a companion file.
  public init(name: String, byteCount: Int) {
    self.name = name
    self.byteCount = byteCount
  }
}
