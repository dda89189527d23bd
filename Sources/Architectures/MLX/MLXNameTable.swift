extension MLXNames {
  /// A line for each group of model types whose names differ in the same way.
  static let all: [MLXNames] = [
    MLXNames(
      modelTypes: [
        "qwen2_moe", "qwen3_moe", "olmoe", "deepseek", "deepseek_v2", "glm4_moe",
        "solar_open", "exaone_moe", "hunyuan", "mellum", "mimo_v2_flash",
      ],
      rules: switches),
    MLXNames(modelTypes: ["qwen3_5", "qwen3_5_text"], rules: textModel),
    MLXNames(modelTypes: ["qwen3_5_moe", "qwen3_5_moe_text"], rules: textModel + switches),
    MLXNames(
      modelTypes: ["ernie4_5_moe"], rules: switches,
      refused: [Exclusion("e_score_correction_bias", "mlx-lm chooses experts without it")]),
    MLXNames(
      modelTypes: ["qwen3_vl_moe"],
      rules: switches
        + ["gate_proj", "up_proj", "down_proj"].map {
          MLXNameRule("mlp.experts.\($0)", "mlp.switch_mlp.\($0)")
        }),
    MLXNames(
      modelTypes: ["qwen3_next"], rules: switches,
      normsPlusOne: [
        ".input_layernorm", ".post_attention_layernorm", "model.norm", ".q_norm", ".k_norm",
      ],
      movesConvolutions: true,
      leftOut: ["mtp."]),
    MLXNames(
      modelTypes: [
        "deepseek_v3", "kimi_k2", "joyai_llm_flash", "kimi_k25", "deepseek_v32", "glm_moe_dsa",
        "glm4_moe_lite", "longcat_flash", "longcat_flash_ngram", "mistral4", "bailing_hybrid",
        "bailing_moe_v3",
      ],
      rules: switches, plain: [splitKeysAndValues]),
    MLXNames(
      modelTypes: ["bailing_moe", "bailing_moe_linear"], rules: switches,
      plain: [normalizedHead(ifStated: "norm_head")]),
    MLXNames(modelTypes: ["baichuan_m1"], plain: [normalizedHead(ifStated: nil)]),
    MLXNames(
      modelTypes: ["laguna"],
      rules: switches + [MLXNameRule("mlp.shared_experts", "mlp.shared_expert")]),
    MLXNames(
      modelTypes: ["dots1", "afmoe", "Klear"],
      rules: MLXNameRule.gated("mlp.experts", "mlp.experts")),
    MLXNames(modelTypes: ["mixtral"], rules: sparseBlocks),
    MLXNames(
      modelTypes: ["phimoe"],
      rules: sparseBlocks + [MLXNameRule("mlp.router", "block_sparse_moe.gate")]),
    MLXNames(
      modelTypes: ["minimax", "minimax_m2"],
      rules: sparseBlocks + [
        MLXNameRule(
          "mlp.e_score_correction_bias", "block_sparse_moe.e_score_correction_bias")
      ]),
    MLXNames(
      modelTypes: ["kimi_linear"],
      rules: MLXNameRule.numbered("block_sparse_moe.experts", "mlp.switch_mlp")
        + [MLXNameRule("block_sparse_moe.shared_experts", "mlp.shared_experts")],
      plain: [splitKeysAndValues]),
    MLXNames(
      modelTypes: ["jamba"],
      rules: MLXNameRule.gated("feed_forward.experts", "feed_forward.switch_mlp")),
    MLXNames(
      modelTypes: ["lfm2_moe"],
      rules: MLXNameRule.numbered("feed_forward.experts", "feed_forward.switch_mlp")
        + MLXNameRule.stacked("feed_forward.experts", "feed_forward.switch_mlp")
        + [
          MLXNameRule("feed_forward.w1", "feed_forward.gate_proj"),
          MLXNameRule("feed_forward.w2", "feed_forward.down_proj"),
          MLXNameRule("feed_forward.w3", "feed_forward.up_proj"),
        ]),
    MLXNames(
      modelTypes: ["nemotron_h"],
      rules: [
        MLXNameRule("mixer.experts.*.up_proj", "mixer.switch_mlp.fc1"),
        MLXNameRule("mixer.experts.*.down_proj", "mixer.switch_mlp.fc2"),
        MLXNameRule("mixer.experts.up_proj$", "mixer.switch_mlp.fc1"),
        MLXNameRule("mixer.experts.down_proj$", "mixer.switch_mlp.fc2"),
        MLXNameRule("^model", "backbone"),
      ]),
    MLXNames(
      modelTypes: ["phixtral"],
      rules: [
        MLXNameRule("moe.mlp.*.fc1", "moe.switch_mlp.fc1"),
        MLXNameRule("moe.mlp.*.fc2", "moe.switch_mlp.fc2"),
      ]),
    MLXNames(
      modelTypes: ["granitemoehybrid"],
      rules: [
        MLXNameRule("shared_mlp.input_linear", "mlp.gate_proj", "mlp.up_proj"),
        MLXNameRule("shared_mlp.output_linear", "mlp.down_proj"),
      ], hasExperts: false),
    MLXNames(
      modelTypes: ["granitemoe", "granitemoehybrid"],
      rules: [
        MLXNameRule(
          "block_sparse_moe.input_linear", "block_sparse_moe.switch_mlp.gate_proj",
          "block_sparse_moe.switch_mlp.up_proj"),
        MLXNameRule("block_sparse_moe.output_linear", "block_sparse_moe.switch_mlp.down_proj"),
        MLXNameRule("block_sparse_moe.router.weight", "block_sparse_moe.router.layer.weight"),
      ] + MLXNameRule.stacked("block_sparse_moe.experts", "block_sparse_moe.switch_mlp")),
    MLXNames(
      modelTypes: ["gemma4", "gemma4_text", "gemma4_unified"],
      rules: MLXNameRule.stacked("experts", "experts.switch_glu")),
    MLXNames(
      modelTypes: ["gemma3"],
      rules: [
        MLXNameRule("^model.language_model", "language_model.model"),
        MLXNameRule("^model.vision_tower", "vision_tower"),
        MLXNameRule("^model.multi_modal_projector", "multi_modal_projector"),
        MLXNameRule("^lm_head", "language_model.lm_head"),
      ]),
    MLXNames(modelTypes: ["llama4"]),
    MLXNames(modelTypes: ["llama4_text"], rules: textModel, hasExperts: true),
    MLXNames(
      modelTypes: ["llama4_text"],
      refused: [
        Exclusion("feed_forward.experts", "mlx-lm has experts where num_local_experts states them"),
        Exclusion("^lm_head", "mlx-lm looks for the head of this model under another name"),
      ]),
    MLXNames(
      modelTypes: ["gpt_oss"],
      rules: ["gate_proj", "up_proj", "down_proj"].map {
        MLXNameRule("mlp.experts.\($0)_bias", "mlp.experts.\($0).bias")
      }),
    MLXNames(
      modelTypes: ["gpt2"], rules: [MLXNameRule("^transformer", "")],
      refusedGroups: ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"].flatMap { layer in
        ["^h.*", "^transformer.h.*"].map {
          Exclusion("\($0).\(layer)", "mlx-lm transposes the matrix when it loads the model")
        }
      }),
    MLXNames(
      modelTypes: ["seed_oss"],
      plain: [
        Exclusion(
          "embed_tokens", "mlx-lm multiplies by their numbers as head", key: "tie_word_embeddings")
      ]),
    // mlx-lm multiplies the weights of a model whose convolutions were not moved.
    MLXNames(modelTypes: ["falcon_h1"], movesConvolutions: true),
  ]

  /// A text model whose names mlx-lm gives other words in front when it loads it.
  private static let textModel =
    [MLXNameRule("^model.language_model", "language_model.model")]
    + ["embed_tokens", "layers", "norm"].map {
      MLXNameRule("^model.\($0)", "language_model.model.\($0)")
    } + [MLXNameRule("^lm_head", "language_model.lm_head")]

  private static let switches = MLXNameRule.gated("mlp.experts", "mlp.switch_mlp")

  /// Newer versions of transformers write `mlp` instead of `block_sparse_moe`.
  private static let sparseBlocks =
    MLXNameRule.numbered("block_sparse_moe.experts", "block_sparse_moe.switch_mlp")
    + MLXNameRule.stacked("mlp.experts", "block_sparse_moe.switch_mlp")
    + [MLXNameRule("mlp.gate", "block_sparse_moe.gate")]

  private static let splitKeysAndValues = Exclusion(
    "kv_b_proj", "mlx-lm splits it when it loads the model")

  private static func normalizedHead(ifStated key: String?) -> Exclusion {
    Exclusion("lm_head", "mlx-lm normalizes its rows when it loads the model", key: key)
  }
}
