internal import Bytes

extension Architecture {
  /// Gemma 4, and the text model of its versions with towers for pictures and sound.
  static let gemma4 = gemma4(
    modelTypes: ["gemma4_text", "gemma4"], className: "Gemma4ForCausalLM")

  /// A table for model types; not a whole one has neither experts nor inputs of each layer.
  static func gemma4(
    modelTypes: [String], className: String? = nil, isWhole: Bool = true,
    suppressesTokens: Bool = false
  ) -> Architecture {
    Architecture(
      ggufName: "gemma4", modelTypes: modelTypes, className: className,
      interleavesRotaryRows: false,
      modelNames: CommonNames.ends + CommonNames.head,
      layerNames: CommonNames.attention + CommonNames.attentionNorms + CommonNames.feedForward
        + CommonNames.normsAround,
      experts: isWhole ? gemma4Experts : nil, optionalNames: isWhole ? gemma4Options : [],
      completeNames: [("layer_scalar", ["layer_output_scale.weight"])],
      variedLayers: VariedLayers(period: 6, endsInFullAttention: true, hasFullHeads: true),
      defaults: [
        "head_dim": 256, "global_head_dim": 512, "sliding_window": 512,
        "hidden_size_per_layer_input": isWhole ? 256 : 0, "vocab_size_per_layer_input": 262_144,
        "num_kv_shared_layers": 0, "use_double_wide_mlp": false, "final_logit_softcapping": .null,
        "rope_parameters": [
          "sliding_attention": ["rope_type": "default", "rope_theta": 10_000],
          "full_attention": [
            "rope_type": "proportional", "partial_rotary_factor": .number(0.25),
            "rope_theta": 1_000_000,
          ],
        ],
      ],
      hyperparameters: [
        .finalSoftcapOrZero, .slidingWindow, .variedLayers, .expertCount, .usedExpertCount,
        .expertWidth,
      ], neverAddsSpacePrefix: true, hasMergesOfPieces: true,
      suppressesTokens: suppressesTokens,
      traits: RuntimeTraits(
        activation: .gelu, biases: [], biasKeys: [("attention_bias", RuntimeTraits.attention)],
        ropeScalings: [.proportional], bidirectionalKinds: ["vision"],
        limits: [.ropeOfBothKinds, .proportionalRope]))
  }

  private static let gemma4Experts = ExpertKeys(
    counts: ["num_experts"], usedCount: "top_k_experts", width: "moe_intermediate_size",
    flag: "enable_moe_block")

  private static let gemma4Options = [
    OptionalNames(
      key: "hidden_size_per_layer_input",
      names: CommonNames.layerInputs, modelNames: CommonNames.modelInputs),
    OptionalNames(
      key: "enable_moe_block",
      names: [
        ("router.proj", "ffn_gate_inp"), ("pre_feedforward_layernorm_2", "pre_ffw_norm_2"),
        ("post_feedforward_layernorm_1", "post_ffw_norm_1"),
        ("post_feedforward_layernorm_2", "post_ffw_norm_2"),
      ],
      completeNames: [
        ("router.scale", ["ffn_gate_inp.scale"]),
        ("router.per_expert_scale", ["ffn_down_exps.scale"]),
        ("experts.gate_up_proj", ["ffn_gate_up_exps.weight"]),
        ("experts.down_proj", ["ffn_down_exps.weight"]),
      ]),
  ]
}

extension ConfigLimit {
  /// Parameters of rotary embeddings for each kind of layer, which is the only form in Gemma 4.
  fileprivate static let ropeOfBothKinds = ConfigLimit(
    "rope_parameters", expected: "rope_theta for sliding_attention and for full_attention"
  ) {
    guard let parameters = $0["rope_parameters"], parameters != .null else { return nil }
    let missing = ["sliding_attention", "full_attention"].filter {
      parameters[$0]?["rope_theta"]?.double == nil
    }
    return missing.isEmpty ? nil : "none for \(missing.joined(separator: " and "))"
  }

  /// Angles in layers with full attention that are those of the first pairs of numbers.
  fileprivate static let proportionalRope = ConfigLimit(
    "rope_parameters", expected: "rope_type proportional for full_attention, with factor 1"
  ) {
    guard let full = $0["rope_parameters"]?["full_attention"] else { return nil }
    if let factor = full["factor"]?.double, factor != 1 { return "factor \(factor)" }
    let type = (full["rope_type"] ?? full["type"])?.string
    return type == "proportional" ? nil : type ?? "no rope_type"
  }
}
