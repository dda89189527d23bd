package import TensorModel

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

  /// Whether a stack of experts is stored as inputs × outputs.
  ///
  /// `hiddenSize` is the width of the model; nil if it is not known. Where the shape does not show
  /// the order, the model type decides.
  package func transposes(_ stack: TensorInfo, hiddenSize: Int?) -> Bool {
    stack.shape.rank > 2 && (Self.showsInputsFirst(stack, hiddenSize: hiddenSize) ?? experts)
  }

  /// Whether the shape of a stack of experts shows that it is stored as inputs × outputs.
  ///
  /// The first layer of an expert has the width of the model as its inputs, the last one as its
  /// outputs. Nil for other tensors, and if the shape fits both orders or none.
  private static func showsInputsFirst(_ stack: TensorInfo, hiddenSize: Int?) -> Bool? {
    let isFirst = stack.name.hasSuffix(".experts.gate_up_proj")
    let extents = stack.shape.dimensions
    guard isFirst || stack.name.hasSuffix(".experts.down_proj"), extents.count == 3,
      extents[1] != extents[2]
    else { return nil }
    let (transposed, straight) = isFirst ? (1, 2) : (2, 1)
    if extents[transposed] == hiddenSize { return true }
    return extents[straight] == hiddenSize ? false : nil
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
