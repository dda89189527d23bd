internal import TensorModel

/// llama.cpp's names for pre-tokenizers: the values of `tokenizer.ggml.pre` that it knows.
package enum PreTokenizerName {
  /// The names of pre-tokenizers for byte-level tokenizers; those of other kinds are left out.
  package static let all = [
    "a.x-4.0", "afmoe", "bailingmoe", "bailingmoe2", "bloom", "chameleon", "chatglm-bpe",
    "codeshell", "cohere2moe", "command-r", "dbrx", "deepseek-coder", "deepseek-llm",
    "deepseek-r1-qwen", "deepseek-v3", "default", "exaone", "exaone-moe", "exaone4", "f2llmv2",
    "falcon", "falcon-h1", "falcon3", "gigachat", "glm4", "glm5", "gpt-2", "gpt-4o",
    "gpt3-finnish", "granite-docling", "granite-embed-multi-97m", "grok-2", "hunyuan",
    "hunyuan-dense", "hy_v4", "jais", "jais-2", "jina-de", "jina-es", "jina-v1-en",
    "jina-v2-code", "jina-v2-de", "jina-v2-es", "jina-v5-nano", "joyai-llm", "kanana2", "kimi-k2",
    "kormo", "laguna", "lfm2", "llada-moe", "llama-bpe", "llama-v3", "llama3", "llama4", "megrez",
    "mellum", "mellum2", "midm-2.0", "minerva-7b", "minicpm5", "minimax-m2", "modern-bert", "mpt",
    "olmo", "phi-2", "pixtral", "poro-chat", "qwen2", "qwen35", "refact", "roberta-bpe",
    "seed-coder", "smaug-bpe", "smollm", "solar-open", "spark2_5", "stablelm2", "starcoder",
    "superbpe", "talkie", "tekken", "tiny_aya", "trillion", "ufakzeka", "viking", "youtu",
  ]

  /// The names for which llama.cpp adds a start token to texts, unless the file says otherwise.
  static let addingStart: Set<String> = [
    "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
    "jina-v5-nano", "tekken", "chameleon",
  ]

  /// The names for which llama.cpp takes a word that is a token whole, without applying merges.
  static let ignoringMerges: Set<String> = [
    "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
    "jina-v5-nano", "minicpm5", "youtu", "glm4", "glm5", "tekken", "granite-embed-multi-97m",
  ]

  /// Throws `usage` unless llama.cpp knows a name that the user gave.
  static func check(_ name: String) throws(ModelError) {
    guard !all.contains(name) else { return }
    let near = NearName.nearest(to: name, among: all, count: 3)
    throw ModelError(
      .usage, "llama.cpp knows no pre-tokenizer with this name", found: "'\(name)'",
      hint: near.isEmpty
        ? "use a name of llama.cpp, such as gpt-2, llama-bpe or qwen2"
        : "did you mean " + near.joined(separator: " or ") + "?")
  }
}
