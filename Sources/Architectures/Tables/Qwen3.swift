internal import Bytes

extension Architecture {
  /// Qwen 3, without experts.
  static let qwen3 = Architecture(
    ggufName: "qwen3", modelTypes: ["qwen3"], className: "Qwen3ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.attentionNorms + CommonNames.feedForward
      + CommonNames.normsBefore, defaults: ["head_dim": 128], hyperparameters: [],
    traits: RuntimeTraits(
      biasKeys: [("attention_bias", RuntimeTraits.attention)], sliding: .unsupported))
}
