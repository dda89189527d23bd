package import Bytes
package import TensorModel

/// Configs that ask for something that mlx-lm does not compute.
package enum MLXLimits {
  /// Checks that mlx-lm computes what a config describes.
  ///
  /// - Parameter config: The whole config.
  /// - Returns: Notes about differences that do not matter for all uses.
  /// - Throws: `unsupported` with the key of the config, for anything else.
  package static func check(_ config: JSONValue) throws(ModelError) -> [String] {
    guard let outer = config["model_type"]?.string else { return [] }
    let text = TextConfig.merged(MLXConfigKey.completed(config, modelType: outer))
    let inner = text["model_type"]?.string ?? outer
    for limit in all + (outer == denseLlama4 ? limitsOfDenseLlama4 : []) {
      guard let type = [inner, outer].first(where: limit.modelTypes.contains) else { continue }
      try limit.check(text, modelType: type)
    }
    let notes = [
      window(text, inner), longFactors(text, inner), headNorms(text, outer),
      chunks(text, outer), growth(text, outer),
      Architectures.forConfig(text)?.traits.note(text),
    ]
    return notes.compactMap { $0 }
  }

  // MARK: - Notes

  /// The model types whose windows mlx-lm ignores, and the default window in transformers.
  private static let ignoredWindows: [String: JSONValue] = [
    "mistral": 4096, "gemma2": 4096, "mixtral": .null, "phi3": .null, "phimoe": .null,
    "starcoder2": .null,
  ]

  private static func window(_ config: JSONValue, _ type: String) -> String? {
    guard let usual = ignoredWindows[type], config["layer_types"] == nil || type == "gemma2",
      let window = (config["sliding_window"] ?? usual).int,
      window < config["max_position_embeddings"]?.int ?? .max
    else { return nil }
    return "mlx-lm has no sliding attention for \(type): it computes the same up to \(window) "
      + "tokens only"
  }

  private static func longFactors(_ config: JSONValue, _ type: String) -> String? {
    guard let scaling = config["rope_scaling"], scaling["type"] == "longrope",
      scaling["short_factor"] != scaling["long_factor"]
    else { return nil }
    let length = (config[originalLength] ?? scaling[originalLength])?.int ?? 4096
    return
      "mlx-lm always takes long_factor of rope_scaling: it computes the same for texts of more "
      + "than \(length) tokens only"
  }

  private static func headNorms(_ config: JSONValue, _ type: String) -> String? {
    let (epsilon, computed) = (config["rms_norm_eps"]?.double ?? 1e-5, 1e-6)
    guard type == "llama4", config["use_qk_norm"] != false, epsilon != computed else { return nil }
    return "mlx-lm normalizes queries and keys with \(computed) instead of rms_norm_eps \(epsilon)"
  }

  /// The type under which mlx-lm loads text models of Llama 4 without experts.
  private static let denseLlama4 = "llama4_text"

  private static func chunks(_ config: JSONValue, _ type: String) -> String? {
    let size = config["attention_chunk_size"]?.int ?? 8192
    guard type == denseLlama4, size < config["max_position_embeddings"]?.int ?? .max else {
      return nil
    }
    return "mlx-lm has no attention in chunks for \(type): it computes the same up to \(size) "
      + "tokens only"
  }

  private static func growth(_ config: JSONValue, _ type: String) -> String? {
    let distance = config["floor_scale"]?.int ?? 8192
    guard type == denseLlama4, config["attn_temperature_tuning"] != false,
      !rotatesAllLayers(config), distance <= config["max_position_embeddings"]?.int ?? .max
    else { return nil }
    return "mlx-lm ignores attn_temperature_tuning: it computes the same up to \(distance - 1) "
      + "tokens only"
  }

  private static func rotatesAllLayers(_ config: JSONValue) -> Bool {
    (config["no_rope_layers"]?.array ?? []).allSatisfy { $0 == 1 }
  }

  // MARK: - Refusals

  private static let limitsOfDenseLlama4: [MLXLimit] = [
    MLXLimit([denseLlama4], "rope_scaling", expected: "default") { scalingType($0) },
    MLXLimit([denseLlama4], "attention_bias", only: [false]),
    MLXLimit([denseLlama4], "use_qk_norm", expected: "false, or no_rope_layers 1 for all layers") {
      $0["use_qk_norm"] != false && !rotatesAllLayers($0) ? "true" : nil
    },
  ]

  private static let gemma4Types: Set<String> = ["gemma4_text", "gemma4_unified_text"]

  private static let all: [MLXLimit] = [
    // Activations.
    MLXLimit(silu, "hidden_act", only: ["silu", "swish"]),
    MLXLimit(gemma4Types.union(["gemma2", "gemma3_text"]), "hidden_activation", only: gelu),
    MLXLimit(["gemma", "gpt_neox", "phi", "starcoder2"], "hidden_act", only: gelu),
    MLXLimit(["gpt2", "gptj", "gpt_bigcode"], "activation_function", only: gelu),

    // States.
    MLXLimit(["mamba2"], "n_groups", only: [1], default: 8),
    MLXLimit(["granitemoehybrid"], "mamba_n_groups", only: [1], default: 1),
    MLXLimit(["falcon_h1"], "mamba_n_groups", expected: "1, or mamba_rms_norm false") {
      let count = $0["mamba_n_groups"]?.int ?? 1
      return $0["mamba_rms_norm"]?.bool == true && count != 1 ? "\(count)" : nil
    },

    // Attention.
    MLXLimit(["qwen2", "qwen2_moe", "qwen3", "qwen3_moe"], "use_sliding_window", expected: "false")
    {
      hasWindow($0) ? "true, with a sliding_window shorter than max_position_embeddings" : nil
    },
    MLXLimit(["llama", "mistral", "olmo3", "afmoe"], "layer_types", expected: full) {
      guard let types = $0["layer_types"]?.array, !types.contains(.string(full)) else {
        return nil
      }
      return "only other layers"
    },
    MLXLimit(["gemma3_text"], "layer_types", expected: "one full layer after equally many others") {
      guard let types = $0["layer_types"], $0.interval(of: full, sliding) == nil else { return nil }
      return JSONWriter.text(types)
    },
    MLXLimit(["gemma3_text"], "use_bidirectional_attention", only: [false]),
    MLXLimit(gemma4Types, "use_bidirectional_attention", only: [false, "vision"]),
    MLXLimit(["gemma3_text"], "final_logit_softcapping", only: []),
    MLXLimit(["gemma3_text"], "attn_logit_softcapping", only: []),
    MLXLimit(["gemma2"], "final_logit_softcapping", expected: "a number") {
      $0["final_logit_softcapping"] == .null ? "null" : nil
    },
    MLXLimit(["gemma2"], "attn_logit_softcapping", expected: "a number") {
      $0["attn_logit_softcapping"] == .null ? "null" : nil
    },
    MLXLimit(["olmoe"], "clip_qkv", only: []),
    MLXLimit(["phi"], "qk_layernorm", only: [false]),

    // Sizes.
    MLXLimit(["gpt_neox"], "intermediate_size", expected: "4 times hidden_size") {
      guard let inner = $0["intermediate_size"]?.int, let width = $0["hidden_size"]?.int else {
        return nil
      }
      return inner == 4 * width ? nil : "\(inner)"
    },

    MLXLimit(["internlm3"], "head_dim", expected: "hidden_size / num_attention_heads") {
      guard let size = $0["head_dim"]?.int, let width = $0["hidden_size"]?.int,
        let count = $0["num_attention_heads"]?.int
      else { return nil }
      return size * count == width ? nil : "\(size)"
    },

    // Biases.
    MLXLimit(
      [
        "qwen3", "qwen3_moe", "gemma", "gemma2", "gemma3_text", "gemma3n_text", "gemma4_text",
        "gemma4_unified_text", "afmoe", "apertus", "mellum",
      ], "attention_bias", only: [false]),
    MLXLimit(["phimoe"], "attention_bias", only: [true], default: false),
    MLXLimit(["phimoe"], "lm_head_bias", only: [true], default: false),
    MLXLimit(["gpt_neox"], "attention_bias", only: [true]),
    MLXLimit(["starcoder2"], "use_bias", only: [true]),
    MLXLimit(["qwen2_moe"], "qkv_bias", only: [true]),

    // Experts.
    MLXLimit(["qwen2_moe"], "mlp_only_layers", only: [[]]),
    MLXLimit(["qwen2_moe"], "decoder_sparse_step", only: [1]),
    MLXLimit(["qwen2_moe"], "norm_topk_prob", only: [false]),

    MLXLimit(["llama4"], "num_experts_per_tok", only: [1]),
    // Its caches assume a layer of each kind.
    MLXLimit(["llama4"], "num_hidden_layers", expected: "at least 4") {
      $0["num_hidden_layers"]?.int.flatMap { $0 < 4 ? "\($0)" : nil }
    },
    MLXLimit(["llama4"], Architecture.rotatedLayersOfLlama4),
    MLXLimit(["llama4"], Architecture.chunkedLayersOfLlama4),
    MLXLimit(["llama4"], Architecture.expertLayersOfLlama4),

    // Rotary embeddings.
    MLXLimit(["glm"], "partial_rotary_factor", only: [1], default: .number(0.5)),
    MLXLimit(unscaled, "rope_scaling", expected: "default") { scalingType($0) },
    MLXLimit(["phi3"], "rope_scaling", expected: "linear or longrope") {
      scalingType($0).flatMap { ["linear", "longrope"].contains($0) ? nil : $0 }
    },
    MLXLimit(["deepseek_v2"], "rope_scaling", expected: "yarn") {
      let type = scalingType($0) ?? "default"
      return ["yarn", "deepseek_yarn"].contains(type) ? nil : type
    },
    MLXLimit(scaled, "rope_scaling", expected: "default, linear, dynamic, yarn or llama3") {
      scalingType($0).flatMap { knownScalings.contains($0) ? nil : $0 }
    },
    MLXLimit(scaled, "attention_factor", expected: "none") { attentionFactor($0) },
    MLXLimit(scaled, "truncate", expected: "true") {
      scalingType($0) == "yarn" && $0["rope_scaling"]?["truncate"] == false ? "false" : nil
    },
    MLXLimit(["gemma3_text"], "sliding_attention", expected: "rope_type default") {
      let type = MLXRope($0).sliding.flatMap { $0["rope_type"] ?? $0["type"] }?.string
      return type == "default" ? nil : type
    },
  ]

  /// The other names are approximations of the same function.
  private static let gelu: [JSONValue] = [
    "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python", "gelu_python_tanh",
    "gelu_accurate",
  ]

  /// The model types whose feed-forward networks have the activation silu.
  private static let silu: Set<String> = [
    "afmoe", "bailing_moe", "cohere", "cohere2", "deepseek", "deepseek_v2", "deepseek_v3",
    "deepseek_v32", "dots1", "ernie4_5", "ernie4_5_moe", "exaone4", "exaone_moe", "falcon_h1",
    "glm", "glm4", "glm4_moe", "glm4_moe_lite", "glm_moe_dsa", "granite", "granitemoe",
    "granitemoehybrid", "helium", "hunyuan", "hunyuan_v1_dense", "internlm2", "internlm3", "jamba",
    "kimi_k2", "kimi_linear", "laguna", "llama", "llama4_text", "longcat_flash", "mellum", "mimo",
    "minicpm", "minicpm3", "minimax", "minimax_m2", "ministral3", "mistral", "mistral4", "mixtral",
    "olmo2", "olmo3", "olmoe", "phi3", "phimoe", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe",
    "qwen3_next", "seed_oss", "smollm3", "solar_open", "stablelm",
  ]

  /// The model types whose rotary embeddings mlx-lm never scales.
  private static let unscaled: Set<String> = [
    "Klear", "cohere", "cohere2", "dbrx", "gemma", "gemma2", "glm", "glm4", "glm4_moe", "gpt_neox",
    "helium", "lfm2", "lfm2_moe", "minimax", "minimax_m2", "mixtral", "olmo", "phi", "qwen2_moe",
    "qwen3_moe", "recurrent_gemma", "solar_open", "stablelm", "starcoder2",
  ]

  /// The model types whose rotary embeddings mlx-lm scales as `rope_scaling` says.
  private static let scaled: Set<String> = [
    "apertus", "dots1", "ernie4_5", "exaone4", "gemma3_text", "granite", "granitemoe",
    "internlm3", "llama", "llama4", "mistral", "olmo2", "olmo3", "olmoe", "qwen2", "qwen3",
    "qwen3_next",
    "seed_oss", "smollm3",
  ]

  private static let knownScalings: Set<String> = [
    "linear", "dynamic", "yarn", "llama3", "longrope",
  ]

  // MARK: - Values

  private static let full = "full_attention"
  private static let sliding = "sliding_attention"

  private static let originalLength = "original_max_position_embeddings"

  /// How angles are scaled; nil if they are not.
  private static func scalingType(_ config: JSONValue) -> String? {
    let type = config["rope_scaling"].flatMap { $0["type"] ?? $0["rope_type"] }?.string
    return type == "default" || type == "mrope" ? nil : type
  }

  /// The factor of attention of YaRN, if mlx-lm computes another one.
  private static func attentionFactor(_ config: JSONValue) -> String? {
    guard scalingType(config) == "yarn", let scaling = config["rope_scaling"],
      let yarn = try? RopeParameters.Yarn(ConfigValues(config: scaling))
    else { return nil }
    let stated = yarn.wholeAttentionFactor
    func part(_ key: String, _ usual: Double) -> Double {
      RopeParameters.Yarn.attention(yarn.factor, scale: scaling[key]?.double ?? usual)
    }
    let computed = part("mscale", 1) / part("mscale_all_dim", 0)
    return abs(stated - computed) > 1e-6 * abs(stated) ? "\(stated)" : nil
  }

  /// Whether layers of a config have sliding attention that matters within the context.
  private static func hasWindow(_ config: JSONValue) -> Bool {
    guard config["use_sliding_window"] == true,
      let window = (config["sliding_window"] ?? 4096).int,
      window < config["max_position_embeddings"]?.int ?? .max
    else { return false }
    if let types = config["layer_types"]?.array { return types.contains(.string(sliding)) }
    let first = config["max_window_layers"]?.int ?? 28
    return config["model_type"] == "qwen3_moe" || first < config["num_hidden_layers"]?.int ?? .max
  }
}

extension Architecture {
  /// The tensors that have a bias in mlx-lm, by their names in llama.cpp.
  package func mlxBiases(_ config: JSONValue) -> Set<String> {
    switch ggufName {
    case Self.qwen2.ggufName, Self.qwen2MoE.ggufName, Self.qwen2VL.ggufName:
      RuntimeTraits.attentionInputs
    case Self.qwen3.ggufName, Self.qwen3MoE.ggufName, Self.phi3.ggufName, Self.gemma.ggufName,
      Self.gemma2.ggufName, Self.gemma3.ggufName, Self.gemma4.ggufName:
      []
    default: statedBiases(config)
    }
  }
}
