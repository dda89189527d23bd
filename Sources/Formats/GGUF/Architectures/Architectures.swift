/// The architectures whose names Pleat knows; whatever lists architectures derives from here.
package enum Architectures {
  /// Every architecture; of those with one name in GGUF, the most general first.
  package static let all: [Architecture] = [
    .llama, .mistral, .mixtral, .qwen2, .qwen3, .gemma, .gemma2, .gemma3, .phi3,
  ]

  /// The first architecture with a `general.architecture`; nil when Pleat knows none.
  package static func named(_ generalArchitecture: String) -> Architecture? {
    all.first { $0.ggufName == generalArchitecture }
  }

  /// The architecture with a `model_type`; nil when Pleat knows none.
  package static func forModelType(_ modelType: String) -> Architecture? {
    all.first { $0.modelTypes.contains(modelType) }
  }
}
