internal import Bytes

extension Architecture {
  /// dots.llm1, with experts in all layers but the first ones.
  static let dots1 = Architecture(
    ggufName: "dots1", modelTypes: ["dots1"], className: "Dots1ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.attentionNorms + CommonNames.normsBefore,
    experts: ExpertKeys(
      counts: ["n_routed_experts"], width: "moe_intermediate_size",
      sharedCount: "n_shared_experts", leadingCount: "first_k_dense_replace"),
    expertNames: CommonNames.experts, leadingNames: CommonNames.feedForward,
    laterNames: CommonNames.router + CommonNames.sharedExperts,
    completeNames: [("mlp.gate.e_score_correction_bias", ["exp_probs_b.bias"])],
    stackNames: CommonNames.stacks,
    needsHead: true,
    multipliers: [("routed_scaling_factor", "expert_weights_scale")],
    flags: [("norm_topk_prob", "expert_weights_norm")],
    hyperparameters: [
      .expertCount, .usedExpertCount, .expertWidth, .sharedExpertCount, .leadingCount,
      .oneExpertGroup, .sigmoidRouter,
    ],
    traits: RuntimeTraits(
      biases: [], biasKeys: [("attention_bias", RuntimeTraits.attention)], sliding: .unsupported,
      limits: [
        ConfigLimit("n_group", only: [1]), ConfigLimit("topk_group", only: [1]),
        ConfigLimit("scoring_func", only: ["sigmoid"]), .sameHeads,
      ]))
}
