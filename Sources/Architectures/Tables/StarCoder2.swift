internal import Bytes

extension Architecture {
  /// StarCoder 2, with biases everywhere.
  static let starCoder2 = Architecture(
    ggufName: "starcoder2", modelTypes: ["starcoder2"], className: "Starcoder2ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.normsBefore + [
      ("mlp.c_fc", "ffn_up"), ("mlp.c_proj", "ffn_down"),
    ], normEpsilon: ("norm_epsilon", RuntimeTraits.layerNormEpsilon), hyperparameters: [],
    traits: RuntimeTraits(
      activation: .usualGelu, biases: biases, requiredBiases: biases, headsFillWidth: true,
      sliding: .ignored(defaultWindow: nil), limits: [ConfigLimit("use_bias", only: [true])]))

  private static let biases = RuntimeTraits.attention.union([
    "ffn_up", "ffn_down", "attn_norm", "ffn_norm", "output_norm",
  ])
}
