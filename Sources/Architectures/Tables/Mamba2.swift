internal import Bytes

extension Architecture {
  /// Mamba 2 (arXiv 2405.21060): states in all layers, and no attention.
  static let mamba2 = Architecture(
    ggufName: "mamba2", modelTypes: ["mamba2"], className: "Mamba2ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: [("model.embeddings", "token_embd"), ("model.norm_f", "output_norm")]
      + CommonNames.head,
    layerNames: [("norm", "attn_norm")] + stateSpaceNames("mixer").names,
    derivedValues: { config in
      // No other number of a layer than those of states counts.
      config.overridden(by: [
        "num_attention_heads": 1, "num_key_value_heads": 1, "intermediate_size": 1,
        "max_position_embeddings": 1, "head_dim": 16,
      ])
    },
    stateSpace: .mamba2, hasNoAttention: true, hasUnlimitedContext: true,
    outerWords: ["backbone"], publishedWord: "backbone",
    completeNames: stateSpaceNames("mixer").completeNames,
    arrangements: stateSpaceArrangements(.mamba2), returns: stateSpaceReturns(.mamba2),
    defaults: [
      "num_heads": 128, "expand": 2, "n_groups": 8, "state_size": 128,
      "conv_kernel": 4, "layer_norm_epsilon": .number(1e-5),
    ],
    normEpsilon: (key: "layer_norm_epsilon", ggufKey: "attention.layer_norm_rms_epsilon"),
    hyperparameters: [.stateSpace],
    traits: RuntimeTraits(
      biases: stateSpaceBiases, requiredBiases: stateSpaceBiases, ropeScalings: [],
      limits: stateSpaceLimits(
        kernel: "conv_kernel", convolutionBias: "use_conv_bias", others: ["use_bias"])))
}
