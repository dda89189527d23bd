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

  // MARK: - Tied embeddings

  @Test("a missing tie_word_embeddings is stated by the tensors", arguments: [true, false])
  func missing(hasHead: Bool) throws {
    for type in ["llama", "olmo2", "qwen3_moe", "granitemoe", "something new"] {
      let found = try completed(["model_type": .string(type)], hasHead: hasHead)
      #expect(
        found == ["model_type": .string(type), "tie_word_embeddings": .bool(!hasHead)], "\(type)")
    }
    let nested = try completed(
      ["model_type": "qwen3_5", "text_config": ["hidden_size": 4]], hasHead: hasHead)
    #expect(nested["tie_word_embeddings"] == nil)
    #expect(
      nested["text_config"] == ["hidden_size": 4, "tie_word_embeddings": .bool(!hasHead)])
  }

  @Test("a stated tie_word_embeddings stays, unless the whole model overrules its text model")
  func stated() throws {
    let tied: JSONValue = ["model_type": "llama", "tie_word_embeddings": true]
    #expect(try completed(tied) == tied)
    #expect(try completed(tied, hasHead: false) == tied)
    let overruled = try completed([
      "model_type": "qwen3_vl_moe", "tie_word_embeddings": false,
      "text_config": ["tie_word_embeddings": true],
    ])
    #expect(overruled["text_config"]?["tie_word_embeddings"] == false)
  }

  @Test("a head that the config states and the tensors lack is malformed") func noHead() {
    let config: JSONValue = ["model_type": "llama", "tie_word_embeddings": false]
    let found = error(config, hasHead: false)
    #expect(found?.kind == .malformed && found?.tensor == "lm_head.weight")
    let encoder = config.setting("architectures", to: ["LlamaModel"])
    #expect(error(encoder, hasHead: false) == nil)
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
    let config: JSONValue = ["model_type": "gemma3_text"]
    for hasHead in [true, false] { #expect(try completed(config, hasHead: hasHead) == config) }
    let norm = TensorInfo(name: "norm.weight", shape: Shape(4), encoding: .plain(.f16))
    let plain: JSONValue = ["model_type": "llama"]
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
    #expect(try value("rope_theta", config.setting("rope_theta", to: 7)) == 7)
    let plain: JSONValue = [
      "model_type": "qwen3", "rope_parameters": ["rope_theta": 5, "rope_type": "default"],
    ]
    #expect(try value("rope_scaling", plain) == nil)
    #expect(try value("rope_scaling", plain.setting("model_type", to: "solar_open")) == .null)
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
