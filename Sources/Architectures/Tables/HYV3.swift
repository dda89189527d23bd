internal import Bytes

extension Architecture {
  /// Hy 3, with experts in all layers but the first ones.
  static let hyV3 = Architecture(
    ggufName: "hy_v3", modelTypes: ["hy_v3"], className: "HYV3ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.attentionNorms + CommonNames.normsBefore,
    experts: ExpertKeys(
      counts: ["num_experts", "num_local_experts"], width: "moe_intermediate_size",
      sharedCount: "num_shared_experts", leadingCount: "first_k_dense_replace",
      layerKinds: "mlp_layer_types"),
    expertNames: CommonNames.experts, leadingNames: CommonNames.feedForward,
    laterNames: [("mlp.router.gate", "ffn_gate_inp")] + CommonNames.sharedNetwork,
    predictionNames: CommonNames.prediction.filter { $0.huggingFace != "shared_head.norm" } + [
      ("final_layernorm", "nextn.shared_head_norm")
    ],
    completeNames: [("mlp.expert_bias", ["exp_probs_b"])], stackNames: CommonNames.stacks,
    otherNames: [
      ("mlp.gate.weight", "mlp.router.gate.weight"),
      ("mlp.e_score_correction_bias", "mlp.expert_bias"),
    ]
      + ["gate_proj", "up_proj", "down_proj"].map {
        ("mlp.shared_experts.\($0).weight", "mlp.shared_mlp.\($0).weight")
      },
    defaults: [
      "head_dim": 128, "rope_theta": 11_158_840, "num_shared_experts": 1,
      "first_k_dense_replace": 1, "route_norm": true, "router_scaling_factor": .number(2.826),
    ],
    multipliers: [("router_scaling_factor", "expert_weights_scale")],
    flags: [("route_norm", "expert_weights_norm")],
    hyperparameters: [
      .expertCount, .usedExpertCount, .expertWidth, .sharedExpertWidth, .sigmoidRouter,
      .predictionLayersIfAny,
    ],
    traits: RuntimeTraits(
      biases: [], biasKeys: [("attention_bias", RuntimeTraits.attention)],
      limits: [
        // Transformers always computes this.
        ConfigLimit("route_norm", only: [true]), ConfigLimit("mlp_bias", only: [false]),
        ConfigLimit("num_shared_experts", expected: "at least 1") {
          $0["num_shared_experts"] == 0 ? "0" : nil
        },
      ]))
}
