internal import Bytes

extension Architecture {
  /// The first OLMo, whose norms have no weights.
  static let olmo = Architecture(
    ggufName: "olmo", modelTypes: ["olmo"], className: "OlmoForCausalLM",
    interleavesRotaryRows: true,
    modelNames: [("model.embed_tokens", "token_embd")] + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.feedForward,
    defaults: ["layer_norm_eps": epsilon],
    normEpsilon: ("layer_norm_eps", RuntimeTraits.layerNormEpsilon),
    hyperparameters: [.attentionClamp],
    traits: RuntimeTraits(
      biases: [], biasKeys: [("attention_bias", RuntimeTraits.attention)], headsFillWidth: true,
      // Transformers always adds this number.
      limits: [ConfigLimit("layer_norm_eps", only: [epsilon])]))

  private static let epsilon = JSONValue.number(1e-5)
}
