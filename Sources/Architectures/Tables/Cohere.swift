internal import Bytes

extension Architecture {
  /// Command R and Aya, with attention and the feed-forward network side by side.
  static let cohere = Architecture(
    ggufName: "command-r", modelTypes: ["cohere"], className: "CohereForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends,
    layerNames: CommonNames.attention + CommonNames.feedForward + [
      ("input_layernorm", "attn_norm")
    ], leavesOutHead: true, defaults: ["rope_theta": 500_000, "logit_scale": .number(0.0625)],
    normEpsilon: ("layer_norm_eps", RuntimeTraits.layerNormEpsilon),
    multipliers: [("logit_scale", "logit_scale")], hyperparameters: [.noRopeScaling],
    traits: RuntimeTraits(
      biases: [], biasKeys: [("attention_bias", RuntimeTraits.attention)], ropeScalings: [],
      headsFillWidth: true, limits: [ConfigLimit("use_qk_norm", only: [false])]))
}
