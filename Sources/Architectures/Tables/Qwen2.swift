extension Architecture {
  /// Qwen 2 and 2.5, without experts.
  static let qwen2 = Architecture(
    ggufName: "qwen2", modelTypes: ["qwen2"], className: "Qwen2ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.feedForward + CommonNames.normsBefore,
    hyperparameters: [],
    traits: RuntimeTraits(
      biases: RuntimeTraits.attentionInputs.union(["output"]), headsFillWidth: true,
      sliding: .unsupported))
}
