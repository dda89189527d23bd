import Architectures
import Bytes
import TensorModel
import TestSupport
import Testing

/// Configs that ask for something that llama.cpp does not compute in an architecture.
///
/// The expectations come from the sources of llama.cpp and the config classes of transformers.
@Suite struct LimitsTests {
  /// A config of 4 heads of 16 rows that every architecture accepts.
  private static let config: JSONValue = [
    "num_hidden_layers": 2, "max_position_embeddings": 1024, "hidden_size": 64,
    "intermediate_size": 96, "num_attention_heads": 4, "head_dim": 16,
    "rms_norm_eps": .number(1e-6), "sliding_window": 1024, "query_pre_attn_scalar": 16,
  ]

  private static func config(_ type: String, _ changes: JSONValue) -> JSONValue {
    config.overridden(by: specialKeys(type, experts: 4, heads: 4)).overridden(by: changes)
  }

  private func notes(
    _ type: String, _ changes: JSONValue = [:]
  ) throws(ModelError) -> [String] {
    guard let architecture = Architectures.forModelType(type) else {
      throw ModelError(.usage, "no such type")
    }
    let config = Self.config(type, changes)
    return try architecture.checkExpressible(
      config, try Hyperparameters(config, architecture, tokenCount: 10))
  }

  private func refusedKey(_ type: String, _ changes: JSONValue) -> String? {
    let error = Laws.error { () throws(ModelError) in try notes(type, changes) }
    return error?.kind == .unsupported ? error?.tensor : nil
  }

  @Test("a usual config is accepted without notes") func usual() throws {
    for type in Architectures.all.flatMap(\.modelTypes) {
      #expect(try notes(type) == [], "\(type)")
    }
  }

  @Test("every architecture has one activation") func activations() throws {
    let silu = Architectures.decoders.flatMap(\.modelTypes).filter {
      let others = ["arcee", "nemotron", "starcoder2", "phi", "apertus", "jais2", "nemotron_h"]
      return !$0.hasPrefix("gemma") && !others.contains($0)
    }
    for type in silu {
      #expect(try notes(type, ["hidden_act": "swish"]) == [])
      for name in ["gelu", "relu", "gelu_pytorch_tanh", "quick_gelu"] {
        #expect(refusedKey(type, ["hidden_act": .string(name)]) == "hidden_act", "\(type)")
      }
    }
    for (type, name) in [
      ("arcee", "relu2"), ("nemotron", "relu2"), ("starcoder2", "gelu_new"), ("phi", "gelu_new"),
      ("apertus", "xielu"), ("jais2", "relu2"),
    ] as [(String, JSONValue)] {
      #expect(try notes(type, ["hidden_act": name]) == [])
      #expect(refusedKey(type, ["hidden_act": "silu"]) == "hidden_act")
    }
    for type in ["gemma2", "gemma3_text"] {
      #expect(try notes(type, ["hidden_activation": "gelu_fast", "hidden_act": "silu"]) == [])
      for name in ["gelu", "silu", "relu"] {
        let changes = JSONValue.object([.init("hidden_activation", .string(name))])
        #expect(refusedKey(type, changes) == "hidden_activation", "\(type)")
      }
    }
    #expect(try notes("gemma", ["hidden_act": "gelu"]) == [])
    let notes = try notes("gemma", ["hidden_act": "silu"])
    #expect(notes.count == 1 && notes[0].contains("silu"))
  }

  @Test("Gemma 2 and 3 divide scores by the size of a head, or by the width in the largest models")
  func queryScale() throws {
    for (type, count) in [("gemma2", 46), ("gemma3_text", 62)] {
      let key = "query_pre_attn_scalar"
      #expect(refusedKey(type, ["query_pre_attn_scalar": 24]) == key)
      #expect(refusedKey(type, ["query_pre_attn_scalar": .null]) == key)
      let large: JSONValue = [
        "num_hidden_layers": JSONValue(count), "head_dim": 8, "query_pre_attn_scalar": 16,
      ]
      #expect(try notes(type, large) == [])
      #expect(refusedKey(type, large.overridden(by: ["query_pre_attn_scalar": 8])) == key)
    }
    #expect(try notes("gemma", ["query_pre_attn_scalar": 24]) == [])
  }

  @Test("Gemma 2 cannot leave its caps out") func caps() throws {
    for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
      let null = JSONValue.object([.init(key, .null)])
      #expect(refusedKey("gemma2", null) == key)
      #expect(try notes("gemma3_text", null) == [])
    }
  }

  @Test("the heads of some architectures are as wide as the model") func width() throws {
    for type in Architectures.decoders.map({ $0.modelTypes[0] }) {
      let isFixed = [
        "qwen2", "phi3", "qwen2_moe", "olmoe", "olmo2", "olmo3", "starcoder2", "exaone4",
        "nemotron", "cohere", "cohere2", "phi", "stablelm", "qwen2_vl", "olmo", "glm", "lfm2",
        "lfm2_moe",
      ].contains(type)
      let wide: JSONValue = ["head_dim": 32, "query_pre_attn_scalar": 32]
      #expect(refusedKey(type, wide) == (isFixed ? "head_dim" : nil), "\(type)")
    }
  }

  @Test("biases that llama.cpp does not have are refused by their key") func biases() throws {
    for type in ["qwen3", "gemma", "gemma2", "gemma3_text", "olmo2", "smollm3", "olmoe"] {
      #expect(refusedKey(type, ["attention_bias": true]) == "attention_bias")
      #expect(try notes(type, ["attention_bias": false]) == [])
    }
    #expect(try notes("llama", ["attention_bias": true, "mlp_bias": true]) == [])
    // Transformers ignores the key for these.
    #expect(try notes("qwen2", ["attention_bias": true]) == [])
  }

  @Test("only some architectures rotate parts of heads") func partialRotation() throws {
    let partial = [
      "phi3", "glm", "glm4", "glm4_moe", "solar_open", "nemotron", "minimax_m2", "phi", "stablelm",
      "qwen3_5_text", "qwen3_5_moe_text", "qwen3_next", "laguna",
      // Transformers reads the parameters of each kind of layer instead.
      "gemma4_text", "gemma4_unified_text",
    ]
    for type in Architectures.decoders.map({ $0.modelTypes[0] }) {
      let key = refusedKey(type, ["partial_rotary_factor": .number(0.75)])
      #expect(key == (partial.contains(type) ? nil : "partial_rotary_factor"), "\(type)")
    }
  }

  @Test("every architecture has its own ways to scale rotary embeddings") func scalings() throws {
    let factors = JSONValue.array(Array(repeating: 1, count: 8))
    let ropes: [String: JSONValue] = [
      "linear": ["factor": 2], "dynamic": ["factor": 2], "yarn": ["factor": 2],
      "llama3": ["factor": 2, "low_freq_factor": 1, "high_freq_factor": 4],
      "longrope": ["long_factor": factors, "short_factor": factors],
    ]
    // Gemma 3n and 4 have parameters for each kind of layer; see the values that are refused.
    let types = Architectures.decoders.map { $0.modelTypes[0] }
    for type in types where !type.hasPrefix("gemma4") && !type.hasPrefix("gemma3n") {
      for (name, rope) in ropes where type != "phi3" || name != "yarn" {
        let latent = ["deepseek_v2", "deepseek_v3", "glm4_moe_lite"]
        let scales: JSONValue = latent.contains(type) ? ["mscale": 1, "mscale_all_dim": 1] : [:]
        let scaling = rope.overridden(
          by: [
            "rope_type": .string(name), "llama_4_scaling_beta": 0, "mrope_section": [3, 3, 2],
          ]
        ).overridden(by: scales)
        let isLlama = [
          "llama", "mistral", "mixtral", "granite", "granitemoe", "arcee", "exaone4", "internlm3",
          "exaone_moe", "granitemoeshared", "granitemoehybrid", "apertus", "llama4_text",
        ].contains(type)
        let isFixed = [
          "nemotron", "cohere", "cohere2", "exaone_moe", "mellum", "llama4_text", "cohere2_moe",
          "laguna", "nemotron_h", "mamba2",
        ].contains(type)
        let isAccepted =
          switch name {
          case "longrope": type == "phi3"
          case "llama3": isLlama
          case "linear", "dynamic":
            type != "phi3" && !isFixed && !(latent + ["ministral3"]).contains(type)
          default: type != "phi3" && !isFixed
          }
        let changes: JSONValue = ["rope_scaling": scaling, "partial_rotary_factor": 1]
        #expect(refusedKey(type, changes) == (isAccepted ? nil : "rope_scaling"), "\(type) \(name)")
        if isAccepted { #expect(try notes(type, changes).count == (name == "dynamic" ? 1 : 0)) }
      }
    }
  }

  @Test("other limits of YaRN need a tensor, which only llama has") func yarn() throws {
    let rope: JSONValue = ["rope_type": "yarn", "factor": 2, "beta_fast": 16]
    let changes = JSONValue.object([.init("rope_scaling", rope)])
    for type in ["llama", "mistral", "mixtral"] { #expect(try notes(type, changes) == []) }
    for type in ["qwen2", "qwen3", "gemma", "gemma2"] {
      #expect(refusedKey(type, changes) == "rope_scaling")
    }
    let stated: JSONValue = [
      "rope_parameters": [
        "full_attention": ["rope_type": "yarn", "factor": 2, "attention_factor": 2],
        "sliding_attention": ["rope_theta": 10000],
      ]
    ]
    #expect(refusedKey("gemma3_text", stated) == "attention_factor")
  }

  @Test("a window that is shorter than the context is noted, or refused by its key")
  func windows() throws {
    let short: JSONValue = ["sliding_window": 100]
    for type in ["mistral", "mixtral", "phi3"] {
      let notes = try notes(type, short)
      #expect(notes.count == 1 && notes[0].contains("100 tokens"), "\(type)")
    }
    for type in ["llama", "gemma", "gemma2", "gemma3_text", "qwen2", "qwen3"] {
      #expect(try notes(type, short) == [], "\(type)")
    }
    let far: JSONValue = ["max_position_embeddings": 8192]
    let null = far.overridden(by: ["sliding_window": .null])
    for type in ["mistral", "mixtral"] { #expect(try notes(type, null) == []) }
    for type in ["qwen2", "qwen3"] {
      let used = short.overridden(by: ["use_sliding_window": true])
      // The default of transformers for the first layer with a window is 28.
      #expect(try notes(type, used) == [])
      #expect(
        refusedKey(type, used.overridden(by: ["max_window_layers": 1])) == "use_sliding_window")
      #expect(
        refusedKey(type, used.overridden(by: ["layer_types": ["sliding_attention"]]))
          == "use_sliding_window")
      #expect(
        try notes(
          type, used.overridden(by: ["max_window_layers": 1, "layer_types": ["full_attention"]]))
          == [])
    }
  }

  @Test("queries of Ministral 3 grow with their position in YaRN only") func queryGrowth() throws {
    let key = "llama_4_scaling_beta"
    let yarn: JSONValue = [
      "rope_type": "yarn", "factor": 2, "original_max_position_embeddings": 512,
    ]
    for (rope, growth, isAccepted) in [
      (yarn, .number(0.1), true), (yarn, 0, true), (yarn, .null, false),
      (["rope_type": "default"], 0, true), (["rope_type": "default"], .number(0.1), false),
    ] as [(JSONValue, JSONValue, Bool)] {
      let changes: JSONValue = ["rope_parameters": rope.setting(key, to: growth)]
      #expect(refusedKey("ministral3", changes) == (isAccepted ? nil : key), "\(growth)")
    }
    // The default of transformers.
    #expect(try notes("ministral3") == [])
  }

  @Test("queries of Llama 4 grow as in llama.cpp where texts are long enough") func llama4Growth()
    throws
  {
    let long: JSONValue = ["max_position_embeddings": 16_384]
    for (key, value) in [
      ("attn_temperature_tuning", false), ("floor_scale", 4096), ("attn_scale", .number(0.2)),
      ("attention_chunk_size", 4096),
    ] as [(String, JSONValue)] {
      let changes = JSONValue.object([.init(key, value)])
      #expect(try notes("llama4", changes) == [], "\(key)")
      #expect(refusedKey("llama4", long.overridden(by: changes)) == key)
    }
    #expect(refusedKey("llama4", ["floor_scale": 512]) == "floor_scale")
    #expect(refusedKey("llama4", ["attention_chunk_size": 512]) == "attention_chunk_size")
    #expect(try notes("llama4", long) == [])
  }

  @Test("Qwen 3 VL with experts needs the sections of positions") func sections() throws {
    for sections: JSONValue in [.null, [4, 4], "text"] {
      let rope: JSONValue = ["mrope_section": sections]
      #expect(refusedKey("qwen3_vl_moe", ["rope_parameters": rope]) == "mrope_section")
    }
  }

  @Test("the layers of Mellum have one base of rotary embeddings") func oneBase() throws {
    func changes(_ base: JSONValue, _ kinds: JSONValue) -> JSONValue {
      let rope: JSONValue = [
        "full_attention": ["rope_theta": 500_000], "sliding_attention": ["rope_theta": base],
      ]
      return ["layer_types": kinds, "rope_parameters": rope]
    }
    let mixed: JSONValue = ["full_attention", "sliding_attention"]
    #expect(refusedKey("mellum", changes(10_000, mixed)) == "rope_theta")
    #expect(try notes("mellum", changes(500_000, mixed)) == [])
    #expect(try notes("mellum", changes(10_000, ["full_attention", "full_attention"])) == [])
  }

  @Test("factors and norms of falcon_h1 that llama.cpp has no place for are refused")
  func falcon() throws {
    let tied: JSONValue = ["tie_word_embeddings": true, "embedding_multiplier": 2]
    #expect(refusedKey("falcon_h1", tied) == "tie_word_embeddings")
    #expect(try notes("falcon_h1", tied.overridden(by: ["lm_head_multiplier": 2])) == [])
    let norm: JSONValue = ["mamba_rms_norm": true]
    #expect(refusedKey("falcon_h1", norm) == "mamba_norm_before_gate")
    #expect(try notes("falcon_h1", norm.overridden(by: ["mamba_norm_before_gate": false])) == [])
  }

  @Test("only transformers has a shortest time step") func steps() throws {
    #expect(try notes("nemotron_h", ["time_step_min": .number(0.01)]).count == 1)
    #expect(try notes("nemotron_h", ["time_step_min": .null]).count == 1)
    #expect(try notes("mamba2", ["time_step_min": .number(0.01)]) == [])
  }

  @Test(
    "a value that llama.cpp computes otherwise is refused by its key",
    arguments: [
      ("qwen2_moe", "norm_topk_prob", true), ("qwen2_moe", "mlp_only_layers", [0]),
      ("qwen2_moe", "decoder_sparse_step", 2), ("qwen3_moe", "norm_topk_prob", false),
      ("qwen3_moe", "norm_topk_prob", .null), ("qwen3_moe", "decoder_sparse_step", 2),
      ("olmoe", "norm_topk_prob", true), ("olmoe", "clip_qkv", 8),
      ("olmoe", "num_key_value_heads", 2), ("smollm3", "no_rope_layers", [1, 0]),
      ("smollm3", "no_rope_layer_interval", 2), ("seed_oss", "attention_out_bias", true),
      ("seed_oss", "mlp_bias", true), ("starcoder2", "use_bias", false),
      ("exaone4", "sliding_window", 64), ("ernie4_5", "use_bias", true),
      ("phi", "qk_layernorm", true), ("stablelm", "qk_layernorm", true),
      ("stablelm", "use_parallel_residual", true), ("cohere", "use_qk_norm", true),
      ("minimax_m2", "scoring_func", "softmax"),
      ("glm4_moe", "n_group", 2), ("glm4_moe", "topk_group", 2), ("dots1", "n_group", 2),
      ("dots1", "topk_group", 2), ("dots1", "num_key_value_heads", 2),
      ("dots1", "scoring_func", "softmax"), ("ernie4_5_moe", "moe_layer_interval", 2),
      ("ernie4_5_moe", "moe_layer_end_index", 0), ("ernie4_5_moe", "use_bias", true),
      ("olmo", "layer_norm_eps", .number(1e-6)), ("solar_open", "first_k_dense_replace", 1),
      ("solar_open", "use_qk_norm", true), ("exaone_moe", "sliding_window", .null),
      ("exaone_moe", "scoring_func", "softmax"), ("exaone_moe", "n_group", 2),
      ("exaone_moe", "mlp_layer_types", ["sparse", "dense"]), ("afmoe", "mup_enabled", false),
      ("afmoe", "mup_enabled", .null), ("afmoe", "route_norm", false),
      ("afmoe", "score_func", "softmax"), ("afmoe", "global_attn_every_n_layers", 2),
      ("afmoe", "layer_types", ["full_attention", "sliding_attention"]),
      ("granitemoehybrid", "layer_types", ["attention", "mamba"]),
      ("granitemoehybrid", "layer_types", .null), ("granitemoehybrid", "num_local_experts", 4),
      ("granitemoehybrid", "position_embedding_type", "nope"), ("mellum", "norm_topk_prob", false),
      ("mellum", "mlp_layer_types", ["dense", "sparse"]), ("mellum", "layer_types", .null),
      ("apertus", "qk_norm", false), ("apertus", "post_norm", true), ("apertus", "mlp_bias", true),
      ("jais2", "attention_bias", false), ("jais2", "mlp_bias", false),
      ("lfm2", "conv_bias", true), ("lfm2", "conv_L_cache", 1), ("lfm2", "is_causal", false),
      ("lfm2", "layer_types", ["conv", "sliding_attention"]),
      ("lfm2_moe", "use_expert_bias", false), ("lfm2_moe", "norm_topk_prob", false),
      ("lfm2_moe", "routed_scaling_factor", 2),
      (
        "gemma4_text", "rope_parameters",
        [
          "full_attention": ["rope_type": "yarn", "rope_theta": 1_000_000, "factor": 2],
          "sliding_attention": ["rope_type": "default", "rope_theta": 10_000],
        ]
      ),
      ("gemma3n_text", "rope_scaling", ["rope_type": "yarn", "factor": 2]),
      ("qwen3_vl_moe", "norm_topk_prob", false), ("qwen3_vl_moe", "mlp_only_layers", [1]),
      ("llama4", "no_rope_layers", [1, 0]), ("llama4", "no_rope_layer_interval", 2),
      ("llama4", "layer_types", ["full_attention", "full_attention"]),
      ("llama4", "moe_layers", [1]), ("llama4", "use_qk_norm", false),
      ("hunyuan_v1_moe", "use_cla", true), ("hunyuan_v1_moe", "use_qk_norm", false),
      ("hunyuan_v1_moe", "use_mixed_mlp_moe", false),
      ("hunyuan_v1_moe", "num_shared_expert", [1, 2]),
      ("hunyuan_v1_moe", "moe_intermediate_size", [48, 48]),
      ("hy_v3", "route_norm", false), ("hy_v3", "mlp_bias", true),
      ("hy_v3", "num_shared_experts", 0),
      ("cohere2_moe", "shared_expert_combination_strategy", "sum"),
      ("cohere2_moe", "expert_selection_fn", "tanh"), ("cohere2_moe", "norm_topk_prob", false),
      ("cohere2_moe", "prefix_dense_sliding_window_pattern", 4),
      ("laguna", "layer_types", .null), ("laguna", "mlp_layer_types", .null),
      ("laguna", "rope_parameters", ["rope_theta": 10_000]), ("laguna", "gating", "none"),
      ("laguna", "num_attention_heads_per_layer", [4, 6]),
      ("laguna", "norm_topk_prob", false), ("laguna", "moe_router_logit_softcapping", 30),
      ("laguna", "moe_apply_router_weight_on_input", true),
      ("cohere2_moe", "layer_types", .null), ("cohere2_moe", "sliding_window", .null),
      ("falcon_h1", "attention_bias", true), ("falcon_h1", "mamba_conv_bias", false),
      ("falcon_h1", "mamba_d_conv", 1), ("falcon_h1", "time_step_limit", [.number(0.1), 1]),
      ("nemotron_h", "mlp_hidden_act", "silu"), ("nemotron_h", "n_group", 2),
      ("nemotron_h", "moe_latent_size", 8), ("mamba2", "use_bias", true),
      ("mamba2", "use_conv_bias", false),
    ] as [(String, String, JSONValue)])
  func limits(type: String, key: String, value: JSONValue) {
    let found = refusedKey(type, .object([.init(key, value)]))
    #expect(found == (key == "no_rope_layer_interval" ? "no_rope_layers" : key))
  }
}
