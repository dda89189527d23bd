internal import Bytes

extension Architecture {
  /// GLM 4.5 to 4.7, with experts in all layers but the first ones.
  static let glm4MoE = Architecture(
    ggufName: "glm4moe", modelTypes: ["glm4_moe"], className: "Glm4MoeForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + [
      ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "post_attention_norm"),
    ],
    experts: .deepSeek,
    expertNames: CommonNames.experts, leadingNames: CommonNames.feedForward,
    laterNames: CommonNames.router + CommonNames.sharedExperts,
    predictionNames: CommonNames.prediction,
    optionalNames: [OptionalNames(key: "use_qk_norm", names: CommonNames.attentionNorms)],
    completeNames: [("mlp.gate.e_score_correction_bias", ["exp_probs_b.bias"])],
    stackNames: CommonNames.stacks,
    specialTokens: [
      ("bos", "[gMASK]"), ("eot", "<|user|>"), ("eom", "<|observation|>"),
    ], defaults: ["partial_rotary_factor": .number(0.5), "norm_topk_prob": true],
    multipliers: [("routed_scaling_factor", "expert_weights_scale")],
    flags: [("norm_topk_prob", "expert_weights_norm")],
    hyperparameters: [
      .rotatedCount, .expertCount, .usedExpertCount, .expertWidth, .sharedExpertCount,
      .leadingCount, .oneExpertGroup, .predictionLayers, .sigmoidRouter,
    ],
    traits: RuntimeTraits(
      biasKeys: [("attention_bias", RuntimeTraits.attentionInputs)], rotatesPartly: true,
      limits: [ConfigLimit("n_group", only: [1]), ConfigLimit("topk_group", only: [1])]))
}
