internal import Bytes

extension Architecture {
  /// Ling and Ring 2.0: sigmoids choose the experts, in groups; first layers without experts.
  ///
  /// The same `model_type` as `bailingMoE`. Their classes are published beside the weights.
  static let bailingMoE2 = Architecture(
    ggufName: "bailingmoe2", modelTypes: bailingMoE.modelTypes,
    className: "BailingMoeV2ForCausalLM", needsRemoteCode: true,
    interleavesRotaryRows: false,
    modelNames: bailingMoE.modelNames,
    layerNames: [
      ("attention.query_key_value", "attn_qkv"), ("attention.dense", "attn_output"),
      ("attention.query_layernorm", "attn_q_norm"), ("attention.key_layernorm", "attn_k_norm"),
    ] + CommonNames.normsBefore,
    experts: ExpertKeys(
      counts: ["num_experts"], width: "moe_intermediate_size", sharedCount: "num_shared_experts",
      leadingCount: "first_k_dense_replace"),
    expertNames: CommonNames.experts, leadingNames: CommonNames.feedForward,
    laterNames: CommonNames.router + CommonNames.sharedExperts,
    predictionNames: CommonNames.prediction + [("final_layernorm", "layer_output_norm")],
    completeNames: [("mlp.gate.expert_bias", ["exp_probs_b.bias"])],
    needsHead: true,
    defaults: [
      "partial_rotary_factor": .number(0.5), "norm_topk_prob": true, "routed_scaling_factor": 1,
    ],
    multipliers: [("routed_scaling_factor", "expert_weights_scale")],
    flags: [("norm_topk_prob", "expert_weights_norm")],
    hyperparameters: [
      .rotatedCount, .vocabularySize, .expertCount, .usedExpertCount, .expertWidth,
      .sharedExpertWidth, .sharedExpertCount, .leadingCount, .expertGroups, .sigmoidRouter,
      .predictionLayers,
    ],
    traits: RuntimeTraits(
      biases: [], rotatesPartly: true,
      limits: bailingLimits + [
        ConfigLimit("score_function", only: ["sigmoid"], default: "softmax"),
        ConfigLimit("use_qk_norm", only: [true], default: false),
        // llama.cpp multiplies the width of all by their number again.
        number("num_shared_experts", 1),
        ConfigLimit("moe_router_enable_expert_bias", only: [true]),
        ConfigLimit("moe_shared_expert_intermediate_size", expected: "moe_intermediate_size") {
          let stated = $0["moe_shared_expert_intermediate_size"]?.int
          return stated == nil || stated == $0["moe_intermediate_size"]?.int
            ? nil : stated.map(String.init)
        },
      ]),
    isMeant: {
      $0["architectures"]?.array?.contains("BailingMoeV2ForCausalLM") == true
        || $0["score_function"] == "sigmoid"
    })
}
