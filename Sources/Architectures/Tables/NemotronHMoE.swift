internal import Bytes

extension Architecture {
  /// Nemotron H with experts instead of the feed-forward network.
  static let nemotronHMoE = hybridNemotron(
    "nemotron_h_moe",
    network: (
      "moe", .experts,
      LayerNames(
        names: [
          ("mixer.gate", "ffn_gate_inp"), ("mixer.shared_experts.up_proj", "ffn_up_shexp"),
          ("mixer.shared_experts.down_proj", "ffn_down_shexp"),
        ], completeNames: [("mixer.gate.e_score_correction_bias", ["exp_probs_b.bias"])])
    ),
    experts: ExpertKeys(
      counts: ["n_routed_experts"], width: "moe_intermediate_size",
      sharedCount: "n_shared_experts", sharedWidth: "moe_shared_expert_intermediate_size"),
    expertNames: [
      ("mixer.experts.*.up_proj", "ffn_up_exps"), ("mixer.experts.*.down_proj", "ffn_down_exps"),
    ],
    stackNames: [
      ("mixer.experts.up_proj", ["ffn_up_exps.weight"]),
      ("mixer.experts.down_proj", ["ffn_down_exps.weight"]),
    ],
    defaults: [
      "num_experts_per_tok": 2, "norm_topk_prob": true, "routed_scaling_factor": 1,
      "moe_shared_expert_intermediate_size": 7688, "n_shared_experts": 1,
    ],
    multipliers: [("routed_scaling_factor", "expert_weights_scale")],
    flags: [("norm_topk_prob", "expert_weights_norm")],
    hyperparameters: [
      .expertCount, .usedExpertCount, .expertWidth, .sharedExpertCount, .sharedExpertWidth,
      .oneExpertGroup,
    ],
    isMeant: { config in
      listingKinds(config)["layer_types"]?.array?.contains("moe") ?? false
    })
}
