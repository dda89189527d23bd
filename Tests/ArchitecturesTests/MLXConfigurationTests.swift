import Architectures
import Bytes
import TensorModel
import Testing

/// The keys of `config.json` that mlx-lm reads.
@Suite struct MLXConfigurationTests {
  private static let table = TensorInfo(
    name: "model.embed_tokens.weight", shape: Shape(8, 4), encoding: .plain(.f16))
  private static let head = TensorInfo(
    name: "lm_head.weight", shape: Shape(8, 4), encoding: .plain(.f16))

  private func completed(
    _ config: JSONValue, hasHead: Bool = true
  ) throws(ModelError) -> JSONValue {
    try MLXConfiguration.completed(
      config, for: [Self.table] + (hasHead ? [Self.head] : []))
  }

  private func error(_ config: JSONValue, hasHead: Bool) -> ModelError? {
    do throws(ModelError) {
      _ = try completed(config, hasHead: hasHead)
      return nil
    } catch {
      return error
    }
  }

  @Test("a text model gets the type under which mlx-lm loads it") func textTypes() throws {
    for (type, expected) in [
      ("qwen3_5_text", "qwen3_5"), ("qwen3_5_moe_text", "qwen3_5_moe"),
      ("gemma3_text", "gemma3_text"),
    ] {
      #expect(try completed(["model_type": .string(type)])["model_type"]?.string == expected)
    }
  }

  @Test("a text model of Llama 4 with experts becomes a part of a larger config")
  func llama4() throws {
    let text: JSONValue = [
      "model_type": "llama4_text", "eos_token_id": 7, "num_local_experts": 4,
      "num_hidden_layers": 5,
    ]
    let found = try completed(text)
    #expect(found["model_type"] == "llama4" && found["eos_token_id"] == 7)
    #expect(found["num_local_experts"] == nil)
    let own = try #require(found["text_config"])
    #expect(own["model_type"] == "llama4_text" && own["eos_token_id"] == nil)
    #expect(own["num_local_experts"] == 4 && own["attention_chunk_size"] == 8192)
    #expect(own["attention_bias"] == false && own["use_qk_norm"] == true)
    #expect(own["no_rope_layers"] == [1, 1, 1, 0, 1] && own["num_key_value_heads"] == 8)
    #expect(try completed(found) == found)
    let dense = try completed(text.setting("num_local_experts", to: 0), hasHead: false)
    #expect(dense["model_type"] == "llama4_text" && dense["attention_chunk_size"] == nil)
    #expect(dense["no_rope_layers"] == [1, 1, 1, 0, 1] && dense["tie_word_embeddings"] == true)
    #expect(error(text, hasHead: false)?.tensor == "lm_head.weight")
  }

  @Test("rotary embeddings of older configs are not replaced by defaults") func olderRope() throws {
    let scaling: JSONValue = [
      "rope_type": "yarn", "factor": 8, "llama_4_scaling_beta": .number(0.5),
    ]
    let found = try completed([
      "model_type": "ministral3", "rope_theta": 500, "rope_scaling": scaling,
      "max_position_embeddings": 64,
    ])
    let parameters = try #require(found["rope_parameters"])
    #expect(parameters["factor"]?.int == 8 && parameters["rope_theta"]?.int == 500)
    #expect(parameters["llama_4_scaling_beta"]?.double == 0.5)
    let partial = try completed([
      "model_type": "minimax_m2", "head_dim": 32, "partial_rotary_factor": .number(0.5),
    ])
    #expect(partial["rotary_dim"]?.int == 16)
    let heads = try completed(
      ["model_type": "cohere2", "hidden_size": 64, "num_attention_heads": 4], hasHead: false)
    #expect(heads["head_dim"]?.int == 16)
  }

  // MARK: - Tied embeddings

  @Test("a missing tie_word_embeddings is stated by the tensors", arguments: [true, false])
  func missing(hasHead: Bool) throws {
    for type in ["mimo", "bailing_moe_linear", "internlm2", "something new"] {
      let found = try completed(["model_type": .string(type)], hasHead: hasHead)
      #expect(
        found == ["model_type": .string(type), "tie_word_embeddings": .bool(!hasHead)], "\(type)")
    }
    let nested = try completed(
      ["model_type": "qwen3_5", "text_config": ["hidden_size": 4]], hasHead: hasHead)
    #expect(nested["tie_word_embeddings"] == nil)
    #expect(
      nested["text_config"]
        == [
          "hidden_size": 4, "partial_rotary_factor": .number(0.25),
          "tie_word_embeddings": .bool(!hasHead),
        ])
  }

  @Test("a stated tie_word_embeddings stays, unless the whole model overrules its text model")
  func stated() throws {
    let tied: JSONValue = ["model_type": "mimo", "tie_word_embeddings": true]
    #expect(try completed(tied) == tied)
    #expect(try completed(tied, hasHead: false) == tied)
    let overruled = try completed([
      "model_type": "qwen3_vl_moe", "tie_word_embeddings": false,
      "text_config": ["tie_word_embeddings": true],
    ])
    #expect(overruled["text_config"]?["tie_word_embeddings"] == false)
    // The class of the whole model decides in transformers.
    let whole: JSONValue = [
      "model_type": "mistral3", "tie_word_embeddings": true,
      "text_config": ["tie_word_embeddings": false],
    ]
    #expect(
      try completed(whole, hasHead: false)["text_config"]?["tie_word_embeddings"] == true)
    #expect(try completed(whole)["text_config"]?["tie_word_embeddings"] == false)
  }

  @Test("a head that the config states and the tensors lack is malformed") func noHead() {
    let config: JSONValue = ["model_type": "llama", "tie_word_embeddings": false]
    let found = error(config, hasHead: false)
    #expect(found?.kind == .malformed && found?.tensor == "lm_head.weight")
  }

  @Test("a model that needs no head is tied, because mlx-lm computes one") func encoder() throws {
    for config: JSONValue in [
      ["model_type": "llama", "tie_word_embeddings": false], ["model_type": "qwen3"],
    ] {
      let encoder = config.setting("architectures", to: ["LlamaModel"])
      #expect(try completed(encoder, hasHead: false)["tie_word_embeddings"] == true)
    }
  }

  @Test(
    "heads that mlx-lm takes from elsewhere are refused",
    arguments: [
      ("qwen2_moe", false), ("deepseek_v2", false), ("gpt_oss", false), ("gemma2", true),
      ("cohere", true), ("lfm2_moe", true),
    ])
  func fixedHeads(type: String, isTied: Bool) {
    let config: JSONValue = ["model_type": .string(type)]
    let found = error(config, hasHead: isTied)
    #expect(found?.kind == .unsupported && found?.tensor == "lm_head.weight")
    #expect(found?.hint != nil)
    #expect(error(config, hasHead: !isTied) == nil)
  }

  @Test("types that look for the head in the file, and models without one, get no key") func found()
    throws
  {
    let config: JSONValue = ["model_type": "recurrent_gemma"]
    for hasHead in [true, false] { #expect(try completed(config, hasHead: hasHead) == config) }
    let norm = TensorInfo(name: "norm.weight", shape: Shape(4), encoding: .plain(.f16))
    let plain: JSONValue = ["model_type": "mimo"]
    #expect(try MLXConfiguration.completed(plain, for: [norm]) == plain)
    #expect(try MLXConfiguration.completed(["a": 1], for: [Self.table]) == ["a": 1])
  }

  // MARK: - Keys

  private func value(_ key: String, _ config: JSONValue) throws -> JSONValue? {
    try completed(config)[key]
  }

  @Test("rotary embeddings get the keys of older configs") func rope() throws {
    let config: JSONValue = [
      "model_type": "qwen3",
      "rope_parameters": [
        "rope_theta": 5000, "rope_type": "yarn", "factor": 2, "partial_rotary_factor": 1,
      ],
    ]
    #expect(try value("rope_theta", config) == 5000)
    #expect(try value("partial_rotary_factor", config) == 1)
    #expect(
      try value("rope_scaling", config) == ["type": "yarn", "rope_type": "yarn", "factor": 2])
    // Transformers prefers the values inside, and ignores a null beside them.
    let stale = config.setting("rope_theta", to: 7).setting("rope_scaling", to: .null)
    #expect(try value("rope_theta", stale) == 5000)
    #expect(try value("rope_scaling", stale)?["factor"] == 2)
    let old = config.setting("rope_scaling", to: ["rope_type": "linear", "factor": 3])
    #expect(try value("rope_scaling", old)?["factor"] == 3)
    let plain: JSONValue = [
      "model_type": "qwen3", "rope_parameters": ["rope_theta": 5, "rope_type": "default"],
    ]
    #expect(try value("rope_scaling", plain) == nil)
    #expect(try value("rope_scaling", plain.setting("model_type", to: "solar_open")) == .null)
  }

  @Test("the length before an extension is stated, because mlx-lm has another default")
  func originalLength() throws {
    let key = "original_max_position_embeddings"
    let config: JSONValue = [
      "model_type": "qwen2", "max_position_embeddings": 320,
      "rope_scaling": ["type": "yarn", "factor": 2],
    ]
    #expect(try value("rope_scaling", config)?[key] == 320)
    #expect(try value("rope_scaling", config.setting(key, to: 160))?[key] == 160)
    let stated = config.setting(
      "rope_scaling", to: .object([.init("type", "yarn"), .init(key, 80)]))
    #expect(try value("rope_scaling", stated)?[key] == 80)
  }

  @Test(
    "keys that mlx-lm requires follow from others",
    arguments: [
      (
        "gpt_neox", ["rope_parameters": ["rope_theta": 9, "partial_rotary_factor": 1]],
        "rotary_emb_base", 9
      ),
      (
        "minimax_m2", ["head_dim": 24, "rope_parameters": ["partial_rotary_factor": .number(0.5)]],
        "rotary_dim", 12
      ),
      ("minimax", ["hidden_size": 60, "num_attention_heads": 4], "rotary_dim", 15),
      ("solar_open", [:], "first_k_dense_replace", 0),
      ("exaone4", ["hidden_size": 60, "num_attention_heads": 5], "head_dim", 12),
      (
        "exaone4", ["sliding_window": 8, "sliding_window_pattern": 3], "sliding_window_pattern",
        "LLG"
      ),
      (
        "exaone4", ["sliding_window": .null, "sliding_window_pattern": 3],
        "sliding_window_pattern", .null
      ),
      ("exaone_moe", ["mlp_layer_types": ["dense", "sparse"]], "is_moe_layer", [false, true]),
      ("apertus", [:], "qk_norm", true), ("apertus", [:], "rms_norm_eps", .number(1e-5)),
      ("granitemoehybrid", ["position_embedding_type": .null], "position_embedding_type", "nope"),
      (
        "granitemoehybrid", ["num_local_experts": 0, "shared_intermediate_size": 7],
        "intermediate_size", 7
      ),
      ("qwen3", ["num_attention_heads": 6], "num_key_value_heads", 6),
      ("qwen3", [:], "head_dim", 128), ("llama", [:], "rms_norm_eps", .number(1e-6)),
      ("gemma3_text", [:], "sliding_window", 4096),
    ] as [(String, JSONValue, String, JSONValue)])
  func required(type: String, config: JSONValue, key: String, expected: JSONValue) throws {
    let config = config.setting("model_type", to: .string(type))
    #expect(try value(key, config) == expected)
  }

  @Test("model types that mlx-lm always ties or that have no head get their keys too")
  func requiredWithoutHead() throws {
    for (type, source, key) in [
      ("gpt2", "n_positions", "n_ctx"), ("lfm2", "hidden_size", "block_dim"),
    ] {
      let config = JSONValue.object([
        .init("model_type", .string(type)), .init(source, 33),
      ])
      #expect(try completed(config, hasHead: false)[key] == 33)
    }
    let mixer: JSONValue = ["model_type": "mamba2", "hidden_size": 20, "expand": 3]
    #expect(try value("intermediate_size", mixer) == 60)
  }

  @Test("of rotary embeddings for two kinds of layers, each gets its key") func localRope() throws {
    let config: JSONValue = [
      "model_type": "gemma3_text",
      "rope_parameters": [
        "sliding_attention": ["rope_theta": 10, "rope_type": "default"],
        "full_attention": ["rope_theta": 20, "rope_type": "linear", "factor": 8],
      ],
      "layer_types": [
        "sliding_attention", "sliding_attention", "full_attention", "sliding_attention",
      ],
    ]
    #expect(try value("rope_theta", config) == 20)
    #expect(try value("rope_local_base_freq", config) == 10)
    #expect(try value("rope_scaling", config)?["factor"] == 8)
    #expect(try value("sliding_window_pattern", config) == 3)
    let mixed = config.setting("layer_types", to: ["full_attention", "sliding_attention"])
    #expect(try value("sliding_window_pattern", mixed) == nil)
  }

  @Test("keys that newer configs rename or leave out") func others() throws {
    let experts: JSONValue = ["model_type": "qwen3_moe", "num_local_experts": 6]
    #expect(try value("num_experts", experts) == 6)
    #expect(try value("num_experts", experts.setting("model_type", to: "mixtral")) == nil)
    #expect(try value("shared_intermediate_size", ["model_type": "minimax_m2"]) == 0)
    let layers: JSONValue = ["linear_attention", "linear_attention", "full_attention"]
    #expect(
      try value("full_attention_interval", ["model_type": "qwen3_next", "layer_types": layers])
        == 3)
    #expect(
      try value("layer_types", ["model_type": "granitemoehybrid", "layer_types": layers])
        == ["mamba", "mamba", "attention"])
    let picture = try completed([
      "model_type": "gemma3", "text_config": ["vocab_size": 9, "num_attention_heads": 1],
    ])
    #expect(picture["vocab_size"] == 9)
    let text = try completed([
      "model_type": "qwen3_vl_moe", "text_config": ["rope_parameters": ["rope_theta": 3]],
    ])
    #expect(text["text_config"]?["rope_theta"] == 3 && text["rope_theta"] == nil)
    #expect(text["text_config"]?["norm_topk_prob"] == true)
  }
}
