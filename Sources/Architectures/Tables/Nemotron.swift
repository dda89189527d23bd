internal import Bytes

extension Architecture {
  /// Nemotron 3 and 4 and Minitron: norms with a bias, and no gate.
  static let nemotron = Architecture(
    ggufName: "nemotron", modelTypes: ["nemotron"], className: "NemotronForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.plainFeedForward + CommonNames.normsBefore,
    addsOneToNorms: true, needsHead: true,
    defaults: ["partial_rotary_factor": .number(0.5)],
    normEpsilon: ("norm_eps", RuntimeTraits.layerNormEpsilon),
    hyperparameters: [.vocabularySize, .rotatedCount, .noRopeScaling],
    traits: RuntimeTraits(
      activation: .squaredReLU, biases: norms, requiredBiases: norms,
      biasKeys: [
        ("attention_bias", RuntimeTraits.attention), ("mlp_bias", RuntimeTraits.feedForward),
      ], ropeScalings: [], rotatesPartly: true, headsFillWidth: true))

  private static let norms: Set<String> = ["attn_norm", "ffn_norm", "output_norm"]
}
