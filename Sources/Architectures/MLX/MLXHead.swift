/// Where mlx-lm takes the output head of a model type from.
package enum MLXHead: Sendable, Hashable {
  /// `tie_word_embeddings` decides; its default is often not that of transformers.
  case stated
  /// The head is always a matrix of its own.
  case own
  /// The embeddings are always the head.
  case tied
  /// The embeddings are the head if the file has no other.
  case found
  /// The head is a matrix of its own; mlx-lm copies the embeddings if the file has none.
  case copied

  /// The head of a model type.
  package init(ofModelType type: String) {
    if Self.ownTypes.contains(type) {
      self = .own
    } else if Self.tiedTypes.contains(type) {
      self = .tied
    } else if Self.foundTypes.contains(type) {
      self = .found
    } else {
      self = type == "minicpm" ? .copied : .stated
    }
  }

  private static let ownTypes: Set<String> = [
    "Klear", "dbrx", "deepseek", "deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v41",
    "glm4", "glm4_moe", "glm4_moe_lite", "glm_moe_dsa", "gpt_neox", "gpt_oss", "gptj",
    "helium", "joyai_llm_flash", "kimi_k2", "kimi_k25", "kimi_vl", "llama4", "longcat_flash",
    "longcat_flash_ngram", "mimo_v2_flash", "muse_spark", "nanochat", "nemotron_h", "phi",
    "phimoe", "phixtral", "pixtral", "plamo", "qwen", "qwen2_moe", "qwen3_vl_moe", "solar_open",
    "stablelm", "step3p5", "talkie",
  ]

  private static let tiedTypes: Set<String> = [
    "afm7", "cohere", "cohere2", "gemma", "gemma2", "gemma3n", "gpt2", "hunyuan", "lfm2",
    "lfm2-vl", "lfm2_moe", "lille-130m", "phi3small", "prism_hadamard_qwen35",
  ]

  private static let foundTypes: Set<String> = ["gemma3", "gemma3_text", "recurrent_gemma"]
}
