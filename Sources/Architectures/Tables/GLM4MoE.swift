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
    experts: ExpertKeys(
      counts: ["n_routed_experts"], width: "moe_intermediate_size",
      sharedCount: "n_shared_experts", leadingCount: "first_k_dense_replace"),
    expertNames: CommonNames.experts, leadingNames: CommonNames.feedForward,
    laterNames: CommonNames.router + CommonNames.sharedExperts,
    predictionNames: [
      ("eh_proj", "nextn.eh_proj"), ("enorm", "nextn.enorm"), ("hnorm", "nextn.hnorm"),
      ("embed_tokens", "nextn.embed_tokens"), ("shared_head.head", "nextn.shared_head_head"),
      ("shared_head.norm", "nextn.shared_head_norm"),
    ], optionalNames: ("use_qk_norm", CommonNames.attentionNorms),
    completeNames: [("mlp.gate.e_score_correction_bias", ["exp_probs_b.bias"])],
    specialTokens: [
      ("bos", "[gMASK]"), ("eot", "<|user|>"), ("eom", "<|observation|>"),
    ], defaults: ["partial_rotary_factor": .number(0.5)],
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
