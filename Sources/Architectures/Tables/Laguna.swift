internal import Bytes

extension Architecture {
  /// Laguna, with gates after attention, and with experts in all layers but the first ones.
  static let laguna = Architecture(
    ggufName: "laguna", modelTypes: ["laguna"], className: "LagunaForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.attentionNorms + CommonNames.normsBefore + [
      (gate, "attn_gate")
    ],
    experts: ExpertKeys(
      width: "moe_intermediate_size", sharedWidth: "shared_expert_intermediate_size",
      layerKinds: "mlp_layer_types"),
    expertNames: CommonNames.experts, leadingNames: CommonNames.feedForward,
    laterNames: CommonNames.router + [
      ("mlp.shared_expert.gate_proj", "ffn_gate_shexp"),
      ("mlp.shared_expert.up_proj", "ffn_up_shexp"),
      ("mlp.shared_expert.down_proj", "ffn_down_shexp"),
    ],
    completeNames: [("mlp.experts.e_score_correction_bias", ["exp_probs_b.bias"])],
    statesRopeByKind: true, specialTokens: [(kind: "eot", text: "</assistant>")],
    defaults: [
      "head_dim": 128, "moe_routed_scaling_factor": 1, "norm_topk_prob": true, "gating": true,
      "sliding_window": 512,
    ],
    multipliers: [("moe_routed_scaling_factor", "expert_weights_scale")],
    flags: [("norm_topk_prob", "expert_weights_norm")],
    hyperparameters: [
      .vocabularySize, .headCounts, .slidingWindow, .slidingLayers, .expertCount, .usedExpertCount,
      .expertWidth, .sharedExpertWidth, .sigmoidRouter, .leadingCount, .rotatedCount,
      .slidingRotatedCount,
    ],
    traits: RuntimeTraits(
      biases: [], biasKeys: [("attention_bias", RuntimeTraits.attention)], ropeScalings: [.yarn],
      rotatesPartly: true, sliding: .alternatingAfterFirst(period: 4),
      limits: [
        // Transformers always computes this.
        ConfigLimit("norm_topk_prob", only: [true]),
        ConfigLimit("moe_router_logit_softcapping", only: [.number(0)]),
        ConfigLimit("moe_apply_router_weight_on_input", only: [false]),
        // Transformers reads rope_parameters alone.
        ConfigLimit("rope_scaling", only: []),
        ConfigLimit("gating", expected: "true, per-head or per-element") {
          guard let gating = $0["gating"], gating != .null, gating != true,
            gating != "per-head", gating != "per-element"
          else { return nil }
          return JSONWriter.text(gating)
        },
        // Without them, transformers has defaults of its own.
        listed("layer_types"), listed("mlp_layer_types"),
        ConfigLimit("rope_parameters", expected: "an object for each kind of layer") {
          let rope = $0["rope_parameters"] ?? .null
          let isComplete = ["full_attention", "sliding_attention"].allSatisfy {
            rope[$0]?["rope_theta"] != nil
          }
          return isComplete ? nil : JSONWriter.text(rope)
        },
        equalHeads,
      ]))

  /// The gates of attention: one for each head, or one for each row of a head.
  private static let gate = "self_attn.g_proj"

  /// Whether attention has such gates.
  var hasGateLayer: Bool { layerNames.contains { $0.huggingFace == Self.gate } }

  private static func listed(_ key: String) -> ConfigLimit {
    ConfigLimit(key, expected: "a list") { $0[key]?.array == nil ? "nothing" : nil }
  }

  private static let equalHeads = ConfigLimit(
    "num_attention_heads_per_layer", expected: "num_attention_heads in all layers"
  ) { config in
    guard let list = config["num_attention_heads_per_layer"]?.array else { return nil }
    return list.allSatisfy { $0 == config["num_attention_heads"] }
      ? nil : JSONWriter.text(.array(list))
  }
}
