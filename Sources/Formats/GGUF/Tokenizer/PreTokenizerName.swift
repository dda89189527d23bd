internal import TensorModel

/// The names of ways to split text, values of `tokenizer.ggml.pre`, that llama.cpp knows.
package enum PreTokenizerName {
  /// All that it loads a byte-level tokenizer with; those of other kinds of tokenizer are left out.
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

  /// Those with which a text begins with the token for that, unless the file says otherwise.
  static let addingStart: Set<String> = [
    "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
    "jina-v5-nano", "tekken", "chameleon",
  ]

  /// Those with which a word that is a token is taken whole, whatever the merges say.
  static let ignoringMerges: Set<String> = [
    "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
    "jina-v5-nano", "minicpm5", "youtu", "glm4", "glm5", "tekken", "granite-embed-multi-97m",
  ]

  /// Checks a name that a user gave.
  ///
  /// Throws `usage`.
  static func check(_ name: String) throws(ModelError) {
    guard !all.contains(name) else { return }
    let near = NearName.nearest(to: name, among: all, count: 3)
    throw ModelError(
      .usage, "llama.cpp knows no pre-tokenizer of this name", found: "'\(name)'",
      hint: near.isEmpty
        ? "names are as in llama.cpp: gpt-2, llama-bpe, qwen2, …"
        : "perhaps " + near.joined(separator: " or "))
  }
}
