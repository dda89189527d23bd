internal import Bytes

extension Architecture {
  /// Jais 2, with biases everywhere and without a gate.
  static let jais2 = Architecture(
    ggufName: "jais2", modelTypes: ["jais2"], className: "Jais2ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.plainFeedForward + CommonNames.normsBefore,
    normEpsilon: ("layer_norm_eps", RuntimeTraits.layerNormEpsilon),
    hyperparameters: [.rotatedCount],
    traits: RuntimeTraits(
      activation: .squaredReLU, biases: biases, requiredBiases: biases,
      limits: [
        ConfigLimit("attention_bias", only: [true]), ConfigLimit("mlp_bias", only: [true]),
      ]))

  private static let biases = RuntimeTraits.attention.union([
    "ffn_up", "ffn_down", "attn_norm", "ffn_norm", "output_norm",
  ])
}
