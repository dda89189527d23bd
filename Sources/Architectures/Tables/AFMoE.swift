internal import Bytes

extension Architecture {
  /// Trinity (AFMoE), with gates after attention, and with experts in all layers but the first ones.
  static let afmoe = Architecture(
    ggufName: "afmoe", modelTypes: ["afmoe"], className: "AfmoeForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.attentionNorms + [
      ("self_attn.gate_proj", "attn_gate"),
      ("input_layernorm", "attn_norm"),
      ("post_attention_layernorm", "post_attention_norm"),
      ("pre_mlp_layernorm", "ffn_norm"),
      ("post_mlp_layernorm", "post_ffw_norm"),
    ],
    experts: ExpertKeys(
      counts: ["num_experts"], width: "moe_intermediate_size", sharedCount: "num_shared_experts",
      leadingCount: "num_dense_layers"),
    expertNames: CommonNames.experts, leadingNames: CommonNames.feedForward,
    laterNames: [("mlp.router.gate", "ffn_gate_inp")] + CommonNames.sharedExperts,
    completeNames: [("mlp.expert_bias", ["exp_probs_b.bias"])], stackNames: CommonNames.stacks,
    defaults: [
      "head_dim": 128, "num_experts": 64, "num_experts_per_tok": 6, "num_shared_experts": 2,
      "num_dense_layers": 1, "route_scale": 1, "route_norm": true, "sliding_window": 1024,
    ],
    multipliers: [("route_scale", "expert_weights_scale")],
    flags: [("route_norm", "expert_weights_norm")],
    hyperparameters: llama.hyperparameters + [
      .slidingWindow, .expertCount, .usedExpertCount, .expertWidth, .sharedExpertCount,
      .leadingCount, .oneExpertGroup, .sigmoidRouter,
    ],
    traits: RuntimeTraits(
      biases: [], biasKeys: [("attention_bias", RuntimeTraits.attention)],
      sliding: .alternating(period: 4),
      limits: [
        ConfigLimit("mup_enabled", only: [true], default: false),
        ConfigLimit("route_norm", only: [true]), ConfigLimit("score_func", only: ["sigmoid"]),
        ConfigLimit("n_group", only: [1]), ConfigLimit("topk_group", only: [1]),
        ConfigLimit("global_attn_every_n_layers", only: [4]),
        slidingLayers,
      ]))

  /// llama.cpp rotates in all layers but every fourth one, whatever their attention.
  private static let slidingLayers = ConfigLimit(
    "layer_types", expected: "full_attention in every fourth layer, with a window in the others"
  ) { config in
    if config["sliding_window"] == .null { return "no window" }
    let kinds = (config["layer_types"]?.array ?? []).map { $0 == "sliding_attention" }
    let isComputed = kinds.enumerated().allSatisfy { $1 == (($0 + 1) % 4 != 0) }
    return isComputed ? nil : JSONWriter.text(config["layer_types"] ?? .null)
  }
}
