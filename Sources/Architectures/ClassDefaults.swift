internal import Bytes

/// The sizes that transformers gives to a text model whose config does not state them.
///
/// Transformers leaves them out of the config of a text model inside a larger model if they are the
/// defaults of its class. The config of a text model alone always states them.
enum ClassDefaults {
  /// The defaults for a `model_type`; an empty object for other model types.
  static func sizes(ofModelType type: String) -> JSONValue { all[type] ?? [:] }

  // Version 5.23 of transformers.
  private static let all: [String: JSONValue] = [
    "llama": sizes(4096, 11_008, layers: 32, heads: 32, context: 2048),
    "mistral": sizes(4096, 14_336, layers: 32, heads: 32, 8, context: 131_072),
    "mixtral": sizes(4096, 14_336, layers: 32, heads: 32, 8, context: 131_072, epsilon: 1e-5)
      .overridden(by: ["num_local_experts": 8, "num_experts_per_tok": 2]),
    "qwen2": sizes(4096, 22_016, layers: 32, heads: 32, context: 32_768),
    "qwen3": sizes(4096, 22_016, layers: 32, heads: 32, context: 32_768),
    "gemma": sizes(3072, 24_576, layers: 28, heads: 16, context: 8192),
    "gemma2": sizes(2304, 9216, layers: 26, heads: 8, 4, context: 8192),
    "gemma3_text": gemma3, "gemma3": gemma3, "gemma4": gemma4, "gemma4_text": gemma4,
    "gemma4_unified": gemma4, "gemma4_unified_text": gemma4,
    "gemma3n": gemma3n, "gemma3n_text": gemma3n,
    "phi3": sizes(3072, 8192, layers: 32, heads: 32, context: 4096, epsilon: 1e-5),
    "qwen2_moe": sizes(2048, 5632, layers: 24, heads: 16, context: 32_768)
      .overridden(by: [
        "num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
      ]),
    "qwen3_moe": sizes(2048, 6144, layers: 24, heads: 32, 4, context: 32_768)
      .overridden(by: [
        "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768,
      ]),
    "olmoe": sizes(2048, 2048, layers: 16, heads: 16, context: 4096, epsilon: 1e-5)
      .overridden(by: ["num_experts": 64, "num_experts_per_tok": 8]),
    "olmo2": sizes(4096, 11_008, layers: 32, heads: 32, context: 2048, epsilon: 1e-5),
    "olmo3": sizes(4096, 11_008, layers: 32, heads: 32, context: 2048, epsilon: 1e-5),
    "smollm3": sizes(2048, 11_008, layers: 36, heads: 16, 4, context: 32_768),
    "seed_oss": sizes(4096, 27_648, layers: 64, heads: 80, 8, context: 524_288),
    "granite": sizes(4096, 11_008, layers: 32, heads: 32, context: 2048),
    "arcee": sizes(2560, 18_432, layers: 32, heads: 32, context: 4096, epsilon: 1e-5),
    "starcoder2": sizes(3072, 12_288, layers: 30, heads: 24, 2, context: 4096)
      .overridden(by: ["norm_epsilon": .number(1e-5)]),
    "glm4": sizes(4096, 13_696, layers: 40, heads: 32, 2, context: 131_072, epsilon: 1.5625e-7),
    "exaone4": sizes(4096, 16_384, layers: 32, heads: 32, context: 2048, epsilon: 1e-5),
    "ernie4_5": sizes(1024, 3072, layers: 18, heads: 16, 2, context: 131_072, epsilon: 1e-5),
    "nemotron": sizes(6144, 24_576, layers: 32, heads: 48, context: 4096)
      .overridden(by: ["norm_eps": .number(1e-5)]),
    "minimax_m2": sizes(3072, 1536, layers: 62, heads: 48, 8, context: 196_608)
      .overridden(by: ["num_local_experts": 256, "num_experts_per_tok": 8]),
    "granitemoe": sizes(4096, 11_008, layers: 32, heads: 32, context: 2048)
      .overridden(by: ["num_local_experts": 8, "num_experts_per_tok": 2]),
    "dots1": sizes(4608, 10_944, layers: 62, heads: 32, context: 2048)
      .overridden(by: ["moe_intermediate_size": 1408, "first_k_dense_replace": 0]),
    "ernie4_5_moe": sizes(2560, 12_288, layers: 28, heads: 20, 4, context: 131_072, epsilon: 1e-5)
      .overridden(by: [
        "moe_num_experts": 64, "moe_k": 6, "moe_intermediate_size": 1536,
      ]),
    "qwen2_vl": qwen2VL, "qwen2_vl_text": qwen2VL, "qwen2_5_vl": qwen2VL,
    "qwen2_5_vl_text": qwen2VL, "qwen3_vl": qwen3VL, "qwen3_vl_text": qwen3VL,
    "phi": sizes(2048, 8192, layers: 24, heads: 32, context: 2048)
      .overridden(by: ["layer_norm_eps": .number(1e-5)]),
    "hunyuan_v1_dense": sizes(
      4096, 11_008, layers: 32, heads: 32, context: 2048, epsilon: 1e-5),
    "glm4_moe": sizes(4096, 10_944, layers: 46, heads: 96, 8, context: 131_072, epsilon: 1e-5)
      .overridden(by: [
        "n_routed_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 1408,
        "n_shared_experts": 1, "first_k_dense_replace": 1, "routed_scaling_factor": 1,
      ]),
    "stablelm": sizes(2560, 6912, layers: 32, heads: 32, context: 4096)
      .overridden(by: ["layer_norm_eps": .number(1e-5)]),
    "cohere": cohere, "cohere2": cohere,
    "gpt_oss": sizes(2880, 2880, layers: 36, heads: 64, 8, context: 131_072, epsilon: 1e-5)
      .overridden(by: ["num_local_experts": 128, "num_experts_per_tok": 4, "head_dim": 64]),
    "deepseek_v2": sizes(4096, 11_008, layers: 32, heads: 32, context: 2048)
      .overridden(by: latent(1536, valueSize: 128, experts: 64, shared: 2, width: 1407)),
    "deepseek_v3": deepSeekV3, "kimi_k2": deepSeekV3,
    "glm4_moe_lite": sizes(
      2048, 10_240, layers: 47, heads: 20, context: 202_752, epsilon: 1e-5
    ).overridden(by: latent(768, valueSize: 256, experts: 64, shared: 1, width: 1536))
      .overridden(by: [
        "qk_nope_head_dim": 192, "num_experts_per_tok": 4, "n_group": 1, "topk_group": 1,
        "routed_scaling_factor": .number(1.8), "norm_topk_prob": true,
      ]),
    "qwen3_5": qwen35, "qwen3_5_text": qwen35,
    "qwen3_5_moe": qwen35MoE, "qwen3_5_moe_text": qwen35MoE,
    "qwen3_next": sizes(2048, 5632, layers: 48, heads: 16, 2, context: 32_768)
      .overridden(by: linear).overridden(by: [
        "num_experts": 512, "num_experts_per_tok": 10, "moe_intermediate_size": 512,
        "shared_expert_intermediate_size": 512,
      ]),
    "ministral3": sizes(
      4096, 14_336, layers: 34, heads: 32, 8, context: 262_144, epsilon: 1e-5),
    "olmo": sizes(4096, 11_008, layers: 32, heads: 32, context: 2048),
    "internlm3": sizes(
      4096, 10_240, layers: 48, heads: 32, 2, context: 32_768, epsilon: 1e-5),
    "solar_open": sizes(4096, 10_240, layers: 48, heads: 64, 8, context: 131_072, epsilon: 1e-5)
      .overridden(by: [
        "n_routed_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 1280,
        "n_shared_experts": 1, "routed_scaling_factor": 1,
      ]),
    "exaone_moe": sizes(4096, 16_384, layers: 32, heads: 32, context: 2048, epsilon: 1e-5)
      .overridden(by: [
        "num_experts": 64, "num_experts_per_tok": 8, "moe_intermediate_size": 1024,
      ]),
    "afmoe": sizes(2048, 6144, layers: 32, heads: 16, context: 16_384, epsilon: 1e-5)
      .overridden(by: ["moe_intermediate_size": 1408]),
    "glm": sizes(4096, 13_696, layers: 40, heads: 32, 2, context: 131_072, epsilon: 1.5625e-7),
    "granitemoeshared": sizes(4096, 11_008, layers: 32, heads: 32, context: 2048)
      .overridden(by: ["num_local_experts": 8, "num_experts_per_tok": 2]),
    "granitemoehybrid": sizes(4096, 11_008, layers: 32, heads: 32, context: 2048),
    "mellum": sizes(2304, 7168, layers: 28, heads: 32, 4, context: 131_072)
      .overridden(by: [
        "num_experts": 64, "num_experts_per_tok": 8, "moe_intermediate_size": 896,
      ]),
    "apertus": sizes(4096, 14_336, layers: 32, heads: 32, context: 65_536, epsilon: 1e-5),
    "lfm2": sizes(2560, 12_288, layers: 32, heads: 32, 8, context: 128_000)
      .overridden(by: ["norm_eps": .number(1e-5)]),
    "lfm2_moe": sizes(2048, 7168, layers: 32, heads: 32, 8, context: 128_000)
      .overridden(by: ["norm_eps": .number(1e-5), "moe_intermediate_size": 1792]),
    "qwen3_vl_moe": qwen3VLMoE, "qwen3_vl_moe_text": qwen3VLMoE,
    "llama4": llama4, "llama4_text": llama4,
    "hunyuan_v1_moe": sizes(4096, 11_008, layers: 32, heads: 32, context: 2048, epsilon: 1e-5),
    "hy_v3": sizes(4096, 13_312, layers: 80, heads: 64, 8, context: 131_072, epsilon: 1e-5)
      .overridden(by: [
        "num_local_experts": 192, "num_experts_per_tok": 8, "moe_intermediate_size": 1536,
      ]),
    "cohere2_moe": sizes(8192, 22_528, layers: 40, heads: 64, context: 8192),
    "laguna": sizes(2048, 8192, layers: 40, heads: 48, 8, context: 131_072).overridden(by: [
      "num_local_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 512,
      "shared_expert_intermediate_size": 512,
    ]),
    "falcon_h1": sizes(4096, 14_336, layers: 32, heads: 32, 8, context: 8192, epsilon: 1e-5),
    "nemotron_h": sizes(4096, 21_504, layers: 4, heads: 32, 8, context: 4096)
      .overridden(by: ["n_routed_experts": 8, "moe_intermediate_size": 7688]),
    "mamba2": ["hidden_size": 4096, "num_hidden_layers": 64],
    "jais2": sizes(3328, 26_624, layers: 32, heads: 26, context: 8192)
      .overridden(by: ["layer_norm_eps": .number(1e-5)]),
  ]

  private static let qwen3VLMoE = sizes(
    2048, 5632, layers: 24, heads: 16, context: 128_000
  ).overridden(by: [
    "num_local_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408,
  ])

  private static let llama4 = sizes(
    5120, 8192, layers: 48, heads: 40, 8, context: 131_072, epsilon: 1e-5
  ).overridden(by: ["num_local_experts": 16])

  private static let qwen2VL = sizes(
    8192, 29_568, layers: 80, heads: 64, 8, context: 32_768, epsilon: 1e-5)
  private static let qwen3VL = sizes(4096, 22_016, layers: 32, heads: 32, context: 128_000)

  private static let cohere = sizes(8192, 22_528, layers: 40, heads: 64, context: 8192)
    .overridden(by: ["layer_norm_eps": .number(1e-5), "logit_scale": .number(0.0625)])

  private static let deepSeekV3 = sizes(7168, 18_432, layers: 61, heads: 128, context: 4096)
    .overridden(by: latent(1536, valueSize: 128, experts: 256, shared: 1, width: 2048))
    .overridden(by: [
      "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4, "first_k_dense_replace": 3,
      "routed_scaling_factor": .number(2.5), "norm_topk_prob": true,
    ])

  private static func latent(
    _ queryRank: Int, valueSize: Int, experts: Int, shared: Int, width: Int
  ) -> JSONValue {
    [
      "q_lora_rank": JSONValue(queryRank), "kv_lora_rank": 512, "qk_nope_head_dim": 128,
      "qk_rope_head_dim": 64, "v_head_dim": JSONValue(valueSize),
      "n_routed_experts": JSONValue(experts), "n_shared_experts": JSONValue(shared),
      "moe_intermediate_size": JSONValue(width), "first_k_dense_replace": 0,
      "routed_scaling_factor": 1,
    ]
  }

  private static let qwen35 = sizes(4096, 12_288, layers: 32, heads: 16, 4, context: 32_768)
    .overridden(by: linear)

  // It has no feed-forward network without experts, so that the config states no width of one.
  private static let qwen35MoE = linear.overridden(by: [
    "hidden_size": 2048, "num_hidden_layers": 40, "num_attention_heads": 16,
    "num_key_value_heads": 2, "max_position_embeddings": 32_768, "rms_norm_eps": .number(1e-6),
    "num_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
  ])

  private static let linear: JSONValue =
    [
      "head_dim": 256, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
      "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4,
    ]

  private static let gemma3n = sizes(2048, 16_384, layers: 35, heads: 8, 2, context: 32_768)
  private static let gemma4 = sizes(2304, 9216, layers: 30, heads: 8, 4, context: 131_072)
  private static let gemma3 = sizes(2304, 9216, layers: 26, heads: 8, 4, context: 131_072)

  private static func sizes(
    _ width: Int, _ innerWidth: Int, layers: Int, heads: Int, _ keyValueHeads: Int? = nil,
    context: Int, epsilon: Double = 1e-6
  ) -> JSONValue {
    [
      "hidden_size": JSONValue(width), "intermediate_size": JSONValue(innerWidth),
      "num_hidden_layers": JSONValue(layers), "num_attention_heads": JSONValue(heads),
      "num_key_value_heads": JSONValue(keyValueHeads ?? heads),
      "max_position_embeddings": JSONValue(context), "rms_norm_eps": .number(epsilon),
    ]
  }
}
