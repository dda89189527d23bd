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
    "cohere2", "gemma3", "gemma3_text", "gemma4", "gemma4_text", "gemma4_unified",
  ]

  private static let gemma4Types: Set<String> = ["gemma4", "gemma4_text", "gemma4_unified"]

  private static let knownTypes = Set(Architectures.decoders.flatMap(\.modelTypes))

  private static let all = general + defaultsOfLlama4

  private static let general: [MLXConfigKey] = [
    // Newer configs have `rope_parameters` instead of these, which win over old keys beside them.
    MLXConfigKey("rope_theta", replaces: true) { MLXRope($0).base },
    MLXConfigKey("rope_theta", of: knownTypes) { $0.defaultBase },
    MLXConfigKey("partial_rotary_factor", replaces: true) { MLXRope($0).rotatedPart },
    MLXConfigKey("rope_scaling", replaces: true) { MLXRope($0).scaling },
    MLXConfigKey("rope_local_base_freq", replaces: true) { MLXRope($0).sliding?["rope_theta"] },
    MLXConfigKey("rope_scaling", of: ["glm4_moe", "solar_open", "llama4", "exaone4"]) { _ in .null
    },
    MLXConfigKey("rope_parameters", of: knownTypes) { $0.scalingAsParameters },
    MLXConfigKey("partial_rotary_factor", of: ["solar_open"]) { _ in .number(1) },
    MLXConfigKey("rotary_emb_base", of: ["gpt_neox"]) { MLXRope($0).base },
    MLXConfigKey("rotary_pct", of: ["gpt_neox"]) { MLXRope($0).rotatedPart },
    MLXConfigKey("rotary_dim", of: ["minimax", "minimax_m2"]) { $0.rotatedCount },
    MLXConfigKey("position_embedding_type", of: ["granitemoehybrid"], replaces: true) {
      $0["position_embedding_type"] == "rope" ? nil : "nope"
    },

    // They list the kind of each layer instead of the distance of layers of the same kind.
    MLXConfigKey("sliding_window_pattern", of: slidingTypes, replaces: true) {
      $0.interval(of: "full_attention", "sliding_attention")
    },
    MLXConfigKey("sliding_window_pattern", of: ["exaone4"], replaces: true) { $0.layerLetters },
    MLXConfigKey("full_attention_interval", of: ["qwen3_next", "qwen3_5", "qwen3_5_moe"]) {
      $0.interval(of: "full_attention", "linear_attention")
    },
    MLXConfigKey("layer_types", of: ["granitemoehybrid"], replaces: true) { $0.graniteLayers },
    MLXConfigKey("global_head_dim", of: gemma4Types, replaces: true) {
      $0.fullHeads.map { changes, config in changes["head_dim"] ?? config["head_dim"] ?? 256 }
    },
    MLXConfigKey("num_global_key_value_heads", of: gemma4Types, replaces: true) {
      $0.fullHeads?.changes["num_key_value_heads"]
    },
    MLXConfigKey("layer_types", of: gemma4Types) { $0.gemmaLayers },
    MLXConfigKey("no_rope_layers", of: ["llama4_text"], replaces: true) { $0.rotatedLayers },
    MLXConfigKey("is_moe_layer", of: ["exaone_moe"]) {
      $0["mlp_layer_types"]?.array.map { .array($0.map { .bool($0 == "sparse") }) }
    },

    // They leave out what follows from other keys.
    MLXConfigKey("num_key_value_heads", of: ["qwen2", "qwen3", "gemma", "gemma2"]) {
      $0["num_attention_heads"]
    },
    MLXConfigKey("head_dim", of: ["exaone4", "cohere2"]) { $0.dividedWidth },
    MLXConfigKey("n_ctx", of: ["gpt2"]) { $0["n_positions"] },
    MLXConfigKey("intermediate_size", of: ["mamba2"]) { $0.expandedWidth },
    MLXConfigKey("intermediate_size", of: ["granitemoehybrid"], replaces: true) {
      MLXNames.expertCount($0) == 0 ? $0["shared_intermediate_size"] : nil
    },
    MLXConfigKey("mamba_d_head", of: ["granitemoehybrid"]) { $0.stateWidth },
    MLXConfigKey("block_dim", of: ["lfm2"]) { $0["hidden_size"] },

    // They have one name for the number of experts, and no keys for what is always the same.
    MLXConfigKey("num_experts", of: ["qwen3_moe", "qwen3_vl_moe", "mellum"]) {
      $0["num_local_experts"]
    },
    MLXConfigKey("norm_topk_prob", of: ["qwen3_vl_moe"]) { _ in true },
    MLXConfigKey("shared_intermediate_size", of: ["minimax", "minimax_m2"]) { _ in 0 },
    MLXConfigKey("topk_method", of: ["glm_moe_dsa"]) { _ in "noaux_tc" },
    MLXConfigKey("scoring_func", of: ["glm_moe_dsa"]) { _ in "sigmoid" },
    MLXConfigKey("moe_layer_freq", of: ["glm_moe_dsa"]) { _ in 1 },
    MLXConfigKey("first_k_dense_replace", of: ["solar_open"]) { _ in 0 },
    MLXConfigKey("mlp_bias", of: ["apertus"]) { _ in false },
    MLXConfigKey("post_norm", of: ["apertus"]) { _ in false },
    MLXConfigKey("qk_norm", of: ["apertus"]) { _ in true },

    // The defaults of transformers for keys that mlx-lm requires, or has another default for.
    MLXConfigKey("rms_norm_eps", of: smallEpsilonTypes) { _ in .number(1e-6) },
    MLXConfigKey("rms_norm_eps", of: ["phi3", "olmo2", "olmoe", "apertus", "exaone4"]) { _ in
      .number(1e-5)
    },
    MLXConfigKey("query_pre_attn_scalar", of: ["gemma2"]) { _ in 256 },

    // mlx-lm ignores the size of the vocabulary in the config of the text model.
    MLXConfigKey(
      "vocab_size", of: ["gemma3", "gemma4", "gemma4_unified"], isAtTop: true, replaces: true
    ) { $0["vocab_size"] },
  ]

  /// The defaults of transformers for keys that mlx-lm requires in the config of a text model.
  private static var defaultsOfLlama4: [MLXConfigKey] {
    let others: JSONValue = ["attention_bias": false, "attention_chunk_size": 8192]
    let values = ClassDefaults.sizes(ofModelType: "llama4").overridden(by: others)
    return [MLXConfigKey("use_qk_norm", of: ["llama4", "llama4_text"]) { _ in true }]
      + (values.members ?? []).map { usual in
        MLXConfigKey(usual.key, of: ["llama4"]) { _ in usual.value }
      }
  }

  private static let smallEpsilonTypes: Set<String> = [
    "llama", "mistral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "gemma", "gemma2", "granite",
    "smollm3", "seed_oss",
  ]

  /// A config with the keys that mlx-lm reads and that follow from the others.
  static func completed(_ config: JSONValue, modelType: String) -> JSONValue {
    let types = [modelType, config.textConfig?["model_type"]?.string ?? modelType]
    let config = all.reduce(config) { config, key in
      guard key.modelTypes.isEmpty || types.contains(where: key.modelTypes.contains) else {
        return config
      }
      let text = config.textConfig ?? config
      let old = (key.isAtTop ? config : text)[key.key]
      guard old == nil || key.replaces, let value = key.value(text) else { return config }
      return key.isAtTop
        ? config.setting(key.key, to: value) : config.settingText(key.key, to: value)
    }
    // Values that transformers takes for granted.
    let text = TextConfig.merged(config)
    let architecture = text["model_type"]?.string.flatMap(Architectures.forModelType)
    guard let architecture, !architecture.isEncoder else { return config }
    return (architecture.defaults.members ?? []).reduce(config) { config, usual in
      text[usual.key] == nil ? config.settingText(usual.key, to: usual.value) : config
    }
  }
}

extension JSONValue {
  /// The config of the text model, if it is a part of this config.
  var textConfig: JSONValue? { self["text_config"].flatMap { $0.members == nil ? nil : $0 } }

  /// The config with a value for a key of its text model.
  func settingText(_ key: String, to value: JSONValue) -> JSONValue {
    guard let text = textConfig else { return setting(key, to: value) }
    return setting("text_config", to: text.setting(key, to: value))
  }

  /// The base of the angles if the config does not state it; nil for a text model of unknown type.
  ///
  /// The defaults of mlx-lm are not those of transformers.
  fileprivate var defaultBase: JSONValue? {
    guard let type = self["model_type"]?.string,
      let architecture = Architectures.forModelType(type)
    else { return nil }
    return architecture.defaults["rope_theta"] ?? 10_000
  }

  /// The scaling of older configs as the parameters that newer ones have; nil if the model type has no
  /// parameters of its own without them, or if the config states no scaling.
  fileprivate var scalingAsParameters: JSONValue? {
    guard let type = self["model_type"]?.string,
      let usual = Architectures.forModelType(type)?.defaults["rope_parameters"],
      let base = self["rope_theta"] ?? usual["rope_theta"], let scaling = self["rope_scaling"],
      scaling.members != nil
    else { return nil }
    return scaling.setting("rope_theta", to: base)
  }

  /// The distance of layers of a kind, if all others before the first are of another kind.
  func interval(of kind: String, _ other: String) -> JSONValue? {
    let kinds = (self["layer_types"]?.array ?? []).map(\.string)
    guard let first = kinds.firstIndex(of: kind) else { return nil }
    let expected = kinds.indices.map { ($0 + 1) % (first + 1) == 0 ? kind : other }
    guard kinds == expected else { return nil }
    return JSONValue(first + 1)
  }

  /// What a config changes for the first of the layers that it lists, and the config; nil without a
  /// list.
  fileprivate var fullHeads: (changes: JSONValue, config: JSONValue)? {
    self["per_layer_config"]?.members.map { ($0.first?.value ?? [:], self) }
  }

  /// The kinds of layers of a Gemma 4 whose config does not list them; nil without their number.
  fileprivate var gemmaLayers: JSONValue? {
    guard let count = self["num_hidden_layers"]?.int, 1...ModelSizes.layerLimit ~= count else {
      return nil
    }
    return .array(
      (1...count).map {
        .string($0 % 6 == 0 || $0 == count ? "full_attention" : "sliding_attention")
      })
  }

  /// 1 for each layer of Llama 4 with rotary embeddings, else 0; nil if the config lists them.
  fileprivate var rotatedLayers: JSONValue? {
    guard (self["no_rope_layers"]?.array ?? []).isEmpty, let count = self["num_hidden_layers"]?.int,
      1...ModelSizes.layerLimit ~= count
    else { return nil }
    let interval = self["no_rope_layer_interval"]?.int ?? 4
    guard interval > 0 else { return nil }
    return .array((1...count).map { $0.isMultiple(of: interval) ? 0 : 1 })
  }

  /// A letter for each layer, L for sliding and G for full attention; nil if no layer slides.
  fileprivate var layerLetters: JSONValue? {
    guard self["sliding_window"] ?? .null != .null else { return .null }
    if let kinds = self["layer_types"]?.array {
      return .string(kinds.map { $0 == "sliding_attention" ? "L" : "G" }.joined())
    }
    guard let period = self["sliding_window_pattern"]?.int, 2...1024 ~= period else { return nil }
    return .string(String(repeating: "L", count: period - 1) + "G")
  }

  /// The width of a head if all heads together are as wide as the model.
  private var headWidth: Int? {
    guard let width = self["hidden_size"]?.int, let count = self["num_attention_heads"]?.int,
      count > 0
    else { return nil }
    return width / count
  }

  fileprivate var dividedWidth: JSONValue? { headWidth.map { JSONValue($0) } }

  /// The number of rows of a head that are rotated.
  fileprivate var rotatedCount: JSONValue? {
    guard let size = self["head_dim"]?.int ?? headWidth else { return nil }
    let part = MLXRope(self).rotatedPart ?? self["partial_rotary_factor"]
    let rotated = (part?.double ?? 1) * Double(size)
    return Int(exactly: rotated.rounded(.towardZero)).map { JSONValue($0) }
  }

  /// The width of a mixer with states.
  fileprivate var expandedWidth: JSONValue? {
    guard let width = self["hidden_size"]?.int else { return nil }
    let (product, isTooLarge) = width.multipliedReportingOverflow(by: self["expand"]?.int ?? 2)
    return isTooLarge ? nil : JSONValue(product)
  }

  /// The width of a head of states, which transformers computes from other keys.
  fileprivate var stateWidth: JSONValue? {
    guard let width = self["hidden_size"]?.int, let count = self["mamba_n_heads"]?.int, count > 0,
      case (let inner, false) = width.multipliedReportingOverflow(
        by: self["mamba_expand"]?.int ?? 2)
    else { return nil }
    return JSONValue(inner / count)
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
