package import Bytes

extension Architecture {
  /// Tensors of some layers: by pairs of names, and under complete names.
  package struct LayerNames: Sendable {
    /// The pairs.
    package var names: [NamePair] = []
    /// The complete names.
    package var completeNames: [(huggingFace: String, gguf: [String])] = []

    /// Whether a tensor is one of these, by its name in a checkpoint.
    func contains(_ stem: String) -> Bool {
      names.contains { $0.huggingFace == stem } || completeNames.contains { $0.huggingFace == stem }
    }
  }

  /// Tensors of each layer that a model has if a key of its config is true, or a number.
  package struct OptionalNames: Sendable {
    /// The key.
    package var key: String
    /// Whether a model has them because of the key; otherwise in its absence.
    package var isStated = true
    /// The names.
    package var names: [NamePair]
    /// The names of more such tensors, of which a checkpoint has the complete name.
    package var completeNames: [(huggingFace: String, gguf: [String])] = []
    /// The names of such tensors outside of layers.
    package var modelNames: [NamePair] = []

    /// Whether a model with a config has them; the number 0 stands for none.
    package func areIn(_ config: JSONValue) -> Bool {
      (config[key]?.bool ?? (config[key]?.double ?? 0 != 0)) == isStated
    }
  }
}
