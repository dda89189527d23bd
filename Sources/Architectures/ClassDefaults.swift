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
      .setting("num_local_experts", to: 8).setting("num_experts_per_tok", to: 2),
    "qwen2": sizes(4096, 22_016, layers: 32, heads: 32, context: 32_768),
    "qwen3": sizes(4096, 22_016, layers: 32, heads: 32, context: 32_768),
    "gemma": sizes(3072, 24_576, layers: 28, heads: 16, context: 8192),
    "gemma2": sizes(2304, 9216, layers: 26, heads: 8, 4, context: 8192),
    "gemma3_text": gemma3, "gemma3": gemma3,
    "phi3": sizes(3072, 8192, layers: 32, heads: 32, context: 4096, epsilon: 1e-5),
  ]

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
