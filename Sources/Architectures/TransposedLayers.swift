/// The layers of a model type that are stored as inputs × outputs, instead of outputs × inputs.
package struct TransposedLayers: Sendable {
  /// Whether stacks of experts are stored so.
  package let experts: Bool
  private let layers: Set<String>

  /// The layers of a model type; none if it is unknown.
  package init(modelType: String?) {
    experts = modelType.map(Self.expertTypes.contains) ?? false
    layers = modelType.map(Self.convolutionTypes.contains) == true ? Self.convolutions : []
  }

  /// Whether a weight is that of such a layer; for experts see `experts`.
  package func contains(_ name: String) -> Bool {
    let words = name.split(separator: ".")
    return words.count > 1 && layers.contains(String(words[words.count - 2]))
  }

  private static let expertTypes: Set<String> = [
    "gpt_oss", "aria", "aria_text", "openai_privacy_filter",
  ]

  /// Model types whose layers are of the class `Conv1D` in transformers.
  private static let convolutionTypes: Set<String> = [
    "clvp", "decision_transformer", "gpt2", "imagegpt", "openai-gpt",
  ]
  private static let convolutions: Set<String> = ["c_attn", "c_fc", "c_proj", "q_attn"]
}
