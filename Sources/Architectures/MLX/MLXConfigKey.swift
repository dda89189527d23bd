internal import Bytes

/// A key of `config.json` that mlx-lm reads, and that newer versions of transformers leave out.
struct MLXConfigKey: Sendable {
  private let key: String
  /// The model types that need the key; empty if every model type may have it.
  private let modelTypes: Set<String>
  /// Whether the key stands at the top even if the text model has a config of its own.
  private let isAtTop: Bool
  /// Whether the value replaces one that the config has.
  private let replaces: Bool
  /// The value, from the config of the text model; nil if it does not follow from that.
  private let value: @Sendable (JSONValue) -> JSONValue?

  private init(
    _ key: String, of modelTypes: Set<String> = [], isAtTop: Bool = false, replaces: Bool = false,
    _ value: @escaping @Sendable (JSONValue) -> JSONValue?
  ) {
    self.key = key
    self.modelTypes = modelTypes
    self.isAtTop = isAtTop
    self.replaces = replaces
    self.value = value
  }

  private static let slidingTypes: Set<String> = [
    "cohere2", "exaone4", "gemma3", "gemma3_text", "gemma4", "gemma4_text",
  ]

  private static let all: [MLXConfigKey] = [
    // Newer configs have `rope_parameters` instead of these.
    MLXConfigKey("rope_theta") { $0.rope?["rope_theta"] },
    MLXConfigKey("partial_rotary_factor") { $0.rope?["partial_rotary_factor"] },
    MLXConfigKey("rope_scaling") { $0.ropeScaling },
    MLXConfigKey("rope_local_base_freq") { $0.ropeParameters?["sliding_attention"]?["rope_theta"] },
    MLXConfigKey("rope_scaling", of: ["glm4_moe", "solar_open", "llama4"]) { _ in .null },
    MLXConfigKey("partial_rotary_factor", of: ["solar_open"]) { _ in .number(1) },

    // They list the kind of each layer instead of the distance of layers of the same kind.
    MLXConfigKey("sliding_window_pattern", of: slidingTypes) {
      $0.interval(of: "full_attention", "sliding_attention")
    },
    MLXConfigKey("full_attention_interval", of: ["qwen3_next", "qwen3_5", "qwen3_5_moe"]) {
      $0.interval(of: "full_attention", "linear_attention")
    },
    MLXConfigKey("layer_types", of: ["granitemoehybrid"], replaces: true) { $0.graniteLayers },

    // They have one name for the number of experts, and no keys for what is always the same.
    MLXConfigKey("num_experts", of: ["qwen3_moe", "qwen3_vl_moe", "mellum"]) {
      $0["num_local_experts"]
    },
    MLXConfigKey("norm_topk_prob", of: ["qwen3_vl_moe"]) { _ in true },
    MLXConfigKey("shared_intermediate_size", of: ["minimax", "minimax_m2"]) { _ in 0 },
    MLXConfigKey("topk_method", of: ["glm_moe_dsa"]) { _ in "noaux_tc" },
    MLXConfigKey("scoring_func", of: ["glm_moe_dsa"]) { _ in "sigmoid" },
    MLXConfigKey("moe_layer_freq", of: ["glm_moe_dsa"]) { _ in 1 },

    // mlx-lm ignores the size of the vocabulary in the config of the text model.
    MLXConfigKey("vocab_size", of: ["gemma3", "gemma4", "gemma4_unified"], isAtTop: true) {
      $0["vocab_size"]
    },
  ]

  /// A config with the keys that mlx-lm reads and that follow from the others.
  static func completed(_ config: JSONValue, modelType: String) -> JSONValue {
    all.reduce(config) { config, key in
      guard key.modelTypes.isEmpty || key.modelTypes.contains(modelType) else { return config }
      let text = config["text_config"] ?? config
      let isNested = config["text_config"]?.members != nil && !key.isAtTop
      let old = isNested ? text[key.key] : config[key.key]
      guard old == nil || key.replaces, let value = key.value(text) else { return config }
      guard isNested else { return config.setting(key.key, to: value) }
      return config.setting("text_config", to: text.setting(key.key, to: value))
    }
  }
}

extension JSONValue {
  fileprivate var ropeParameters: JSONValue? { self["rope_parameters"] }

  /// The rotary embeddings of layers that see the whole context.
  fileprivate var rope: JSONValue? { ropeParameters?["full_attention"] ?? ropeParameters }

  /// `rope_scaling` as older versions of transformers wrote it; nil if nothing is scaled.
  fileprivate var ropeScaling: JSONValue? {
    guard let rope, let type = rope["rope_type"]?.string, type != "default",
      let members = rope.members
    else { return nil }
    let others = members.filter {
      !["rope_theta", "partial_rotary_factor", "type"].contains($0.key)
    }
    return .object([Member("type", .string(type))] + others)
  }

  /// The distance of layers of a kind, if all others before the first are of another kind.
  fileprivate func interval(of kind: String, _ other: String) -> JSONValue? {
    let kinds = (self["layer_types"]?.array ?? []).map(\.string)
    guard let first = kinds.firstIndex(of: kind), first > 0 else { return nil }
    let expected = kinds.indices.map { ($0 + 1) % (first + 1) == 0 ? kind : other }
    guard kinds == expected else { return nil }
    return JSONValue(first + 1)
  }

  /// The kinds of layers under the names that mlx-lm has for them; nil if they have these names.
  fileprivate var graniteLayers: JSONValue? {
    guard let kinds = self["layer_types"]?.array else { return nil }
    let names = ["linear_attention": "mamba", "full_attention": "attention"]
    let renamed = kinds.map { kind in
      (kind.string.flatMap { names[$0] }).map { JSONValue.string($0) } ?? kind
    }
    return renamed == kinds ? nil : .array(renamed)
  }
}
