internal import Bytes

extension Architecture {
  /// GLM 4 of 2024 and GLM Edge, with biases of queries, keys and values.
  static let glm = Architecture(
    ggufName: "chatglm", modelTypes: ["glm"], className: "GlmForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.normsBefore + [
      ("mlp.gate_up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"),
    ], specialTokens: glm4.specialTokens, defaults: glm4.defaults,
    hyperparameters: glm4.hyperparameters,
    traits: RuntimeTraits(
      biasKeys: glm4.traits.biasKeys, rotatesPartly: true, headsFillWidth: true))
}
