internal import Bytes

extension Architecture {
  /// LFM2 with experts in all layers but the first ones.
  static let lfm2MoE = shortConvolutions(
    "lfm2moe", ["lfm2_moe"], className: "Lfm2MoeForCausalLM",
    experts: ExpertKeys(
      counts: ["num_experts"], width: "moe_intermediate_size", leadingCount: "num_dense_layers"),
    expertNames: [
      ("feed_forward.experts.*.w1", "ffn_gate_exps"),
      ("feed_forward.experts.*.w3", "ffn_up_exps"),
      ("feed_forward.experts.*.w2", "ffn_down_exps"),
    ], leadingNames: gatedFeedForward, laterNames: [("feed_forward.gate", "ffn_gate_inp")],
    defaults: [
      "num_experts": 32, "num_experts_per_tok": 4, "num_dense_layers": 2, "use_expert_bias": true,
      "norm_topk_prob": true,
    ],
    derivedValues: { listingAttention($0) },
    completeNames: [("feed_forward.expert_bias", ["exp_probs_b.bias"])],
    stackNames: [
      ("feed_forward.experts.gate_up_proj", ["ffn_gate_exps.weight", "ffn_up_exps.weight"]),
      ("feed_forward.experts.down_proj", ["ffn_down_exps.weight"]),
    ],
    hyperparameters: [
      .expertCount, .usedExpertCount, .expertWidth, .leadingCount, .sigmoidRouter,
    ],
    limits: [
      ConfigLimit("norm_topk_prob", only: [true]),
      ConfigLimit("routed_scaling_factor", only: [.number(1)]),
    ], tensorLimits: [ConfigLimit("use_expert_bias", only: [true])])
}
