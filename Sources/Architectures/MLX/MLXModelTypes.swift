package import Bytes

/// The values of `model_type` that mlx-lm has a model for.
package enum MLXModelTypes {
  /// Whether mlx-lm loads models of a type.
  package static func contains(_ type: String) -> Bool { all.contains(type) }

  /// A config with the model type under which mlx-lm loads it.
  ///
  /// mlx-lm reads some text models under the type of the larger model that they are a part of, and
  /// some of them as a part of its config.
  package static func named(_ config: JSONValue) -> JSONValue {
    guard let type = config["model_type"]?.string.flatMap({ textTypes[$0] }),
      !type.needsExperts || MLXNames.hasExperts(config)
    else { return config }
    let whole = JSONValue.string(type.whole)
    return type.isNested ? nested(config, in: whole) : config.setting("model_type", to: whole)
  }

  /// The type under which mlx-lm loads a text model.
  private struct TextType: Sendable {
    /// The `model_type` of the larger model.
    var whole: String
    /// Whether mlx-lm reads the sizes from a config inside that of the larger model.
    var isNested = false
    /// Whether mlx-lm loads a text model without experts under its own type.
    var needsExperts = false
  }

  /// Types of text models, and those whose classes take the config of the text model alone.
  private static let textTypes = [
    "qwen3_5_text": TextType(whole: "qwen3_5"), "qwen3_5_moe_text": TextType(whole: "qwen3_5_moe"),
    "llama4_text": TextType(whole: "llama4", isNested: true, needsExperts: true),
  ]

  /// The keys of a text model that belong to the larger model; mlx-lm looks for the end of a text
  /// there.
  private static let wholeKeys: Set<String> = [
    "architectures", "bos_token_id", "dtype", "eos_token_id", "pad_token_id", "tie_word_embeddings",
    "torch_dtype", "transformers_version",
  ]

  /// The config of a larger model that has nothing but a text model.
  private static func nested(_ config: JSONValue, in type: JSONValue) -> JSONValue {
    let members = config.members ?? []
    let text = members.filter { !wholeKeys.contains($0.key) }
    return .object(
      members.filter { wholeKeys.contains($0.key) } + [
        .init("model_type", type), .init("text_config", .object(text)),
      ])
  }

  /// The files in `mlx_lm/models` of mlx-lm 0.32.2, and the keys of its `MODEL_REMAPPING`.
  ///
  /// Not `olmo`, whose file needs another package and reads the tensors of older checkpoints.
  private static let all: Set<String> = [
    "afm7", "afmoe", "apertus", "baichuan_m1", "bailing_hybrid", "bailing_moe",
    "bailing_moe_linear", "bailing_moe_v3", "bitnet", "cohere", "cohere2", "dbrx", "deepseek",
    "deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v41", "deepseek_v41_text", "dots1",
    "ernie4_5", "ernie4_5_moe", "exaone", "exaone4", "exaone_moe", "falcon_h1", "falcon_mamba",
    "gear", "gemma", "gemma2", "gemma3", "gemma3_text", "gemma3n", "gemma4", "gemma4_text",
    "gemma4_unified", "glm", "glm4", "glm4_moe", "glm4_moe_lite", "glm_moe_dsa", "gpt2",
    "gpt_bigcode", "gpt_neox", "gpt_oss", "gptj", "granite", "granitemoe", "granitemoehybrid",
    "helium", "hunyuan", "hunyuan_v1_dense", "internlm2", "internlm3", "iquestcoder",
    "iquestloopcoder", "jamba", "joyai_llm_flash", "kimi_k2", "kimi_k25", "kimi_k3",
    "kimi_linear", "kimi_vl", "Klear", "laguna", "lfm2", "lfm2-vl", "lfm2_moe", "lille-130m",
    "llama", "llama4", "llama4_text", "llava", "longcat_flash", "longcat_flash_ngram", "mamba",
    "mamba2", "mellum", "mimo", "mimo_v2_flash", "minicpm", "minicpm3", "minimax", "minimax_m2",
    "minimax_m3_vl", "ministral3", "mistral", "mistral3", "mistral4", "mixtral", "muse_glimmer",
    "muse_spark", "nanbeige", "nanochat", "nemotron", "nemotron-nas", "nemotron_h",
    "olmo2", "olmo3", "olmo_hybrid", "olmoe", "openelm", "phi", "phi-msft", "phi3", "phi3small",
    "phimoe", "phixtral", "pixtral", "plamo", "plamo2", "plamo3", "prism_hadamard_qwen35", "qwen",
    "qwen2", "qwen2_5_vl", "qwen2_moe", "qwen2_vl", "qwen3", "qwen3_5", "qwen3_5_moe",
    "qwen3_moe", "qwen3_next", "qwen3_vl", "qwen3_vl_moe", "recurrent_gemma", "rwkv7", "seed_oss",
    "smollm3", "solar_open", "spark2_5", "stablelm", "starcoder2", "step3p5", "talkie", "telechat3",
    "xverse",
    "youtu_llm",
  ]
}
