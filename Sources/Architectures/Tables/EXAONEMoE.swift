internal import Bytes

extension Architecture {
  /// K-EXAONE, with experts in all layers but the first ones, and rotary embeddings in layers with
  /// sliding attention only.
  static let exaoneMoE = Architecture(
    ggufName: "exaone-moe", modelTypes: ["exaone_moe"], className: "ExaoneMoeForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.attentionNorms + CommonNames.normsBefore,
    experts: ExpertKeys(
      counts: ["num_experts"], width: "moe_intermediate_size", sharedCount: "num_shared_experts",
      leadingCount: "first_k_dense_replace", layerKinds: "mlp_layer_types"),
    expertNames: CommonNames.experts, leadingNames: CommonNames.feedForward,
    laterNames: CommonNames.router + CommonNames.sharedExperts,
    completeNames: [("mlp.e_score_correction_bias", ["exp_probs_b.bias"])],
    stackNames: CommonNames.stacks,
    otherNames: [("mlp.gate.e_score_correction_bias", "mlp.e_score_correction_bias")],
    leftOut: ["mtp."], needsHead: true,
    defaults: [
      "first_k_dense_replace": 1, "num_shared_experts": 1, "norm_topk_prob": true,
      "routed_scaling_factor": .number(2.5), "sliding_window": 4096,
    ],
    multipliers: [("routed_scaling_factor", "expert_weights_scale")],
    flags: [("norm_topk_prob", "expert_weights_norm")],
    hyperparameters: [
      .vocabularySize, .slidingWindow, .everySlidingLayer, .expertCount, .usedExpertCount,
      .expertWidth, .sharedExpertCount, .sharedExpertWidth, .leadingCount, .oneExpertGroup,
      .predictionLayers, .sigmoidRouter, .noRopeScaling,
    ],
    traits: RuntimeTraits(
      biases: [], ropeScalings: [.llama3], sliding: .alternating(period: 4),
      limits: [
        ConfigLimit("n_group", only: [1]), ConfigLimit("topk_group", only: [1]),
        ConfigLimit("scoring_func", only: ["sigmoid"]),
        // Without a window, transformers rotates in all layers.
        ConfigLimit("sliding_window", expected: "a window") {
          $0["sliding_window"] == .null ? "null" : nil
        },
      ]))
}
