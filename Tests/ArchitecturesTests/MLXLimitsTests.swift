import Architectures
import Bytes
import TensorModel
import TestSupport
import Testing

/// Configs that ask for something that mlx-lm does not compute.
///
/// The expectations come from the model files of mlx-lm and the config classes of transformers.
@Suite struct MLXLimitsTests {
  private static let config: JSONValue = [
    "num_hidden_layers": 3, "max_position_embeddings": 512, "hidden_size": 48,
    "num_attention_heads": 3, "sliding_window": 512,
  ]

  private func notes(
    _ type: String, _ changes: JSONValue = [:]
  ) throws(ModelError) -> [String] {
    try MLXLimits.check(
      Self.config.overridden(by: changes).setting("model_type", to: .string(type)))
  }

  private func refusedKey(_ type: String, _ changes: JSONValue) -> String? {
    let error = Laws.error { () throws(ModelError) in try notes(type, changes) }
    guard let error else { return nil }
    #expect(error.kind == .unsupported && error.hint?.contains("--to safetensors") == true)
    return error.tensor
  }

  @Test("a usual config is accepted without notes") func usual() throws {
    for type in Architectures.all.flatMap(\.modelTypes) + ["granite", "olmoe", "starcoder2"] {
      // mlx-lm rotates whole heads of glm.
      var changes: JSONValue = type == "glm" ? ["partial_rotary_factor": 1] : [:]
      // The size of its heads follows from the width.
      if type == "internlm3" { changes = ["head_dim": .null] }
      if type == "llama4" {
        changes = ["num_hidden_layers": 4, "rms_norm_eps": .number(1e-6)]
      }
      // mlx-lm norms all groups together.
      if type == "mamba2" { changes = ["n_groups": 1] }
      if type == "nemotron_h" { changes = ["time_step_min": 0] }
      // mlx-lm always scales its angles.
      if type == "deepseek_v2" {
        changes = [
          "rope_scaling": [
            "type": "yarn", "factor": 4, "mscale": 1, "mscale_all_dim": 1,
            "original_max_position_embeddings": 128,
          ]
        ]
      }
      #expect(try notes(type, changes) == [], "\(type)")
    }
  }

  @Test(
    "a value that mlx-lm does not compute is refused by its key",
    arguments: [
      ("llama", "hidden_act", "gelu"), ("qwen2", "hidden_act", "relu"),
      ("gpt2", "activation_function", "relu"), ("gemma2", "hidden_activation", "silu"),
      ("qwen3", "attention_bias", true), ("gemma", "attention_bias", true),
      ("gemma2", "attn_logit_softcapping", .null), ("gemma3_text", "final_logit_softcapping", 7),
      ("gemma3_text", "use_bidirectional_attention", true), ("olmoe", "clip_qkv", .number(0.5)),
      ("phi", "qk_layernorm", true), ("starcoder2", "use_bias", false),
      ("gpt_neox", "attention_bias", false), ("qwen2_moe", "mlp_only_layers", [0]),
      ("qwen2_moe", "qkv_bias", false), ("glm", "partial_rotary_factor", .number(0.5)),
      ("olmo3", "layer_types", ["sliding_attention"]), ("apertus", "attention_bias", true),
      ("mellum", "attention_bias", true), ("mamba2", "n_groups", 2),
      ("solar_open", "rope_scaling", ["rope_type": "yarn", "factor": 2]),
    ] as [(String, String, JSONValue)])
  func refused(type: String, key: String, value: JSONValue) {
    #expect(refusedKey(type, .object([.init(key, value)])) == key)
  }

  @Test("a value of llama4 that mlx-lm does not compute is refused by its key") func llama4() throws
  {
    let usual: JSONValue = ["num_hidden_layers": 4, "rms_norm_eps": .number(1e-6)]
    for (key, value) in [
      ("num_experts_per_tok", 2), ("num_hidden_layers", 3), ("no_rope_layers", [1, 1, 1, 1]),
      ("layer_types", ["full_attention"]), ("moe_layers", [1]),
    ] as [(String, JSONValue)] {
      #expect(refusedKey("llama4", usual.setting(key, to: value)) == key)
    }
    let notes = try notes("llama4", usual.setting("rms_norm_eps", to: .number(1e-5)))
    #expect(notes.count == 1 && notes[0].contains("rms_norm_eps"))
    #expect(
      try self.notes("llama4", usual.overridden(by: ["use_qk_norm": false, "rms_norm_eps": 1]))
        == [])
  }

  @Test("a model of llama4_text without experts has limits of its own") func denseLlama4() throws {
    let scaling: JSONValue = ["rope_type": "llama3", "factor": 8]
    for (key, value) in [
      ("rope_scaling", scaling), ("attention_bias", true), ("no_rope_layers", [1, 1, 0]),
    ] as [(String, JSONValue)] {
      let expected = key == "no_rope_layers" ? "use_qk_norm" : key
      #expect(refusedKey("llama4_text", .object([.init(key, value)])) == expected)
    }
    #expect(try notes("llama4_text", ["attention_chunk_size": 256]).count == 1)
    let growing: JSONValue = [
      "floor_scale": 256, "no_rope_layers": [1, 1, 0], "use_qk_norm": false,
    ]
    #expect(try notes("llama4_text", growing).count == 1)
    #expect(try notes("llama4_text", growing.setting("attn_temperature_tuning", to: false)) == [])
  }

  @Test("values with the same meaning are accepted") func accepted() throws {
    #expect(try notes("llama", ["hidden_act": "swish"]) == [])
    #expect(try notes("gemma", ["hidden_act": "gelu"]) == [])
    #expect(try notes("glm", ["partial_rotary_factor": .number(1)]) == [])
    #expect(try notes("qwen2_moe", ["mlp_only_layers": [], "decoder_sparse_step": 1]) == [])
    #expect(try notes("olmoe", ["clip_qkv": .null]) == [])
    #expect(try notes("gemma2") == [])
  }

  @Test("defaults of transformers that mlx-lm does not compute are refused") func defaults() {
    #expect(refusedKey("glm", [:]) == "partial_rotary_factor")
    #expect(refusedKey("phimoe", ["lm_head_bias": true]) == "attention_bias")
    #expect(refusedKey("deepseek_v2", [:]) == "rope_scaling")
    #expect(refusedKey("mamba2", [:]) == "n_groups")
  }

  @Test("only transformers has a shortest time step") func steps() throws {
    #expect(try notes("nemotron_h").count == 1)
  }

  @Test("layers of gemma3 must repeat") func repeatingLayers() throws {
    let (slides, sees): (JSONValue, JSONValue) = ("sliding_attention", "full_attention")
    #expect(try notes("gemma3_text", ["layer_types": [slides, sees, slides]]) == [])
    #expect(try notes("gemma3_text", ["layer_types": [sees, sees]]) == [])
    let irregular: JSONValue = ["layer_types": [sees, slides], "sliding_window_pattern": 6]
    #expect(refusedKey("gemma3_text", irregular) == "layer_types")
  }

  @Test("a sliding window within the context is refused where a key asks for it")
  func usedWindows() throws {
    let used: JSONValue = ["use_sliding_window": true, "sliding_window": 100]
    let early = used.overridden(by: ["max_window_layers": 1])
    for type in ["qwen2", "qwen3"] {
      #expect(try notes(type, used) == [])
      #expect(refusedKey(type, early) == "use_sliding_window")
      #expect(try notes(type, early.overridden(by: ["sliding_window": 512])) == [])
    }
  }

  @Test("a sliding window that mlx-lm ignores is noted") func ignoredWindows() throws {
    for type in ["mistral", "mixtral", "phi3", "starcoder2", "gemma2"] {
      let notes = try notes(type, ["sliding_window": 100])
      #expect(notes.count == 1 && notes[0].contains("100 tokens"), "\(type)")
      #expect(try self.notes(type, ["sliding_window": .null]) == [], "\(type)")
    }
    #expect(try notes("llama", ["sliding_window": 100]) == [])
  }

  private static func rope(_ type: String, _ more: JSONValue = [:]) -> JSONValue {
    ["rope_scaling": more.overridden(by: ["rope_type": .string(type), "factor": 4])]
  }

  @Test("every model type has its own ways to scale rotary embeddings") func scalings() throws {
    for type in ["linear", "dynamic", "yarn"] {
      #expect(try notes("llama", Self.rope(type)) == [])
      for other in ["mixtral", "gemma2", "qwen3_moe", "starcoder2"] {
        #expect(refusedKey(other, Self.rope(type)) == "rope_scaling", "\(other)")
      }
    }
    #expect(refusedKey("qwen2", Self.rope("new")) == "rope_scaling")
    #expect(refusedKey("phi3", Self.rope("dynamic")) == "rope_scaling")
  }

  @Test("mlx-lm computes the default factor of attention of YaRN only") func yarn() throws {
    let usual = 1.138_629_436_111_989_1  // 0.1 ln 4 + 1
    #expect(try notes("qwen3", Self.rope("yarn", ["attention_factor": .number(usual)])) == [])
    #expect(
      refusedKey("qwen3", Self.rope("yarn", ["attention_factor": .number(1.5)]))
        == "attention_factor")
    #expect(try notes("llama", Self.rope("yarn", ["mscale": 2, "mscale_all_dim": 1])) == [])
    // Transformers ignores one of the two alone.
    #expect(refusedKey("llama", Self.rope("yarn", ["mscale": 2])) == "attention_factor")
    #expect(refusedKey("llama", Self.rope("yarn", ["truncate": false])) == "truncate")
  }

  @Test("short factors of longrope are noted") func longFactors() throws {
    let factors = Self.rope("longrope", ["short_factor": [1, 2], "long_factor": [1, 3]])
    let notes = try notes("phi3", factors)
    #expect(notes.count == 1 && notes[0].contains("long_factor") && notes[0].contains("4096"))
    let same = Self.rope("longrope", ["short_factor": [1, 3], "long_factor": [1, 3]])
    #expect(try self.notes("phi3", same) == [])
  }

  @Test("the text model of a larger model has the same limits") func nested() {
    let text = Self.config.overridden(by: ["model_type": "gemma3_text", "attention_bias": true])
    let error = Laws.error { () throws(ModelError) in
      try MLXLimits.check(["model_type": "gemma3", "text_config": text])
    }
    #expect(error?.tensor == "attention_bias")
  }
}
