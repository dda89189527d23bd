import Architectures
import Bytes
import Formats
import TensorModel
import TestSupport
import Testing

/// Checkpoints whose tensors mlx-lm cannot load with their `config.json`.
@Suite struct MLXCheckTests {
  private static let config: JSONValue = [
    "num_hidden_layers": 2, "hidden_size": 24, "intermediate_size": 40,
    "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 11,
    "tie_word_embeddings": true,
  ]

  private static func config(_ type: String, _ changes: JSONValue = [:]) -> JSONValue {
    config.overridden(by: specialKeys(type, experts: 2, heads: 3))
      .overridden(by: ["num_hidden_layers": JSONValue(layerCount(type)), "rms_norm_eps": epsilon])
      .overridden(by: changes).setting("model_type", to: .string(type))
  }

  private static let epsilon = JSONValue.number(1e-6)

  /// Of llama4, mlx-lm takes four layers at least.
  private static func layerCount(_ type: String) -> Int { type == "llama4_text" ? 4 : 2 }

  /// The tensors of a model that fits the config.
  private static func tensors(_ type: String) throws -> [TensorInfo] {
    let architecture = try #require(Architectures.forModelType(type))
    let sizes = try ModelSizes(config(type), architecture)
    let biases = architecture.biasNames(
      of: architecture.mlxBiases(config(type)), layerCount: sizes.layerCount)
    let names = architecture.requiredNames(
      layerCount: sizes.layerCount, expertCount: sizes.expertCount ?? 0)
    return try (names + biases).map { name in
      let expected = architecture.expectedShape(ofHuggingFaceName: name, sizes, tokenCount: 11)
      let shape = expected.flatMap { Shape(validating: $0.dimensions) }
      return TensorInfo(name: name, shape: try #require(shape), encoding: .plain(.f16))
    }
  }

  private func notes(_ tensors: [TensorInfo], _ config: JSONValue) throws(ModelError) -> [String] {
    var translation = try MLXTranslation(tensors, config: config)
    try translation.check(tensors, config: config)
    return translation.notes
  }

  private func error(_ tensors: [TensorInfo], _ config: JSONValue) -> ModelError? {
    Laws.error { () throws(ModelError) in try notes(tensors, config) }
  }

  private static let types = Architectures.all.filter(\.isArrangedForMLX).map { $0.modelTypes[0] }
    .filter(MLXModelTypes.contains)

  /// Model types whose layers of a test have a width under another key.
  private static let sparseTypes = [
    "qwen2_moe", "qwen3_moe", "dots1", "glm4_moe", "ernie4_5_moe", "solar_open", "exaone_moe",
    "afmoe", "granitemoehybrid", "mellum", "qwen3_vl_moe", "laguna",
  ]
  /// Model types that always have as many heads of keys as of queries.
  private static let equalTypes = ["olmoe", "dots1"]

  @Test("a model that fits its config is accepted", arguments: types) func fits(type: String) throws
  {
    let tensors = try Self.tensors(type)
    #expect(try notes(tensors, Self.config(type, ["sliding_window": .null])) == [])
  }

  @Test("sizes that the config states otherwise are malformed", arguments: types)
  func sizes(type: String) throws {
    let tensors = try Self.tensors(type)
    let isSquare = type == "phi3"
    for (key, value) in [
      ("hidden_size", 27), ("intermediate_size", 41), ("num_key_value_heads", 3),
      ("head_dim", 10), ("num_hidden_layers", 1),
      ("num_hidden_layers", Self.layerCount(type) + 1), ("vocab_size", 12),
    ]
    where !(isSquare && key == "head_dim")
      && !(Self.sparseTypes.contains(type) && key == "intermediate_size")
      && !(Self.equalTypes.contains(type) && key == "num_key_value_heads")
      && !(type == "internlm3" && ["hidden_size", "head_dim"].contains(key))
      && !(type == "llama4_text" && (key, value) == ("num_hidden_layers", 1))
    {
      let config = Self.config(type, .object([.init(key, JSONValue(value))]))
      let error = error(tensors, config)
      #expect(error?.kind == .malformed, "\(key) \(value): \(String(describing: error))")
      #expect(error?.description.contains("llama.cpp") == false)
    }
  }

  @Test("tensors that mlx-lm has no place for are unsupported") func unexpected() throws {
    for (type, name, width) in [
      ("llama", "model.layers.1.self_attn.q_norm.weight", 8),
      ("llama", "v_head.summary.weight", 24),
      ("mixtral", "model.layers.0.self_attn.q_proj.bias", 24),
      ("phi3", "model.layers.0.self_attn.qkv_proj.bias", 40),
    ] {
      let more = TensorInfo(name: name, shape: Shape(width), encoding: .plain(.f16))
      let found = error(try Self.tensors(type) + [more], Self.config(type))
      #expect(found?.kind == .unsupported && found?.tensor == name, "\(name)")
      #expect(found?.what.contains("mlx-lm") == true)
    }
  }

  @Test("a bias that the config does not state is malformed") func unstatedBias() throws {
    let name = "model.layers.0.mlp.up_proj.bias"
    let more = TensorInfo(name: name, shape: Shape(40), encoding: .plain(.f16))
    let found = error(try Self.tensors("llama") + [more], Self.config("llama"))
    #expect(found?.kind == .malformed && found?.tensor == name)
    #expect(found?.expected?.contains("mlp_bias") == true)
  }

  @Test("tensors that mlx-lm does not need are accepted") func unused() throws {
    let names = [
      "model.layers.0.self_attn.rotary_emb.inv_freq", "vision_tower.layers.0.mlp.fc1.weight",
      "model.layers.0.self_attn.k_scale", "lm_head.weight",
    ]
    let more = names.map { name in
      TensorInfo(
        name: name, shape: name == "lm_head.weight" ? Shape(11, 24) : Shape(1),
        encoding: .plain(.f16))
    }
    let notes = try notes(try Self.tensors("llama") + more, Self.config("llama"))
    #expect(notes.count == 1 && notes[0].contains("k_scale"))
  }

  @Test("missing tensors are malformed") func missing() throws {
    for (type, name) in [
      ("llama", "model.layers.1.input_layernorm.weight"), ("llama", "model.norm.weight"),
      ("qwen2", "model.layers.0.self_attn.k_proj.bias"), ("llama", "model.embed_tokens.weight"),
    ] {
      let tensors = try Self.tensors(type).filter { $0.name != name }
      #expect(error(tensors, Self.config(type))?.kind == .malformed, "\(name)")
    }
    let untied = Self.config("llama", ["tie_word_embeddings": false])
    #expect(error(try Self.tensors("llama"), untied)?.tensor == "lm_head.weight")
  }

  @Test("other model types are checked for their layers and embeddings") func others() throws {
    let tensors = [
      TensorInfo(name: "model.embed_tokens.weight", shape: Shape(11, 24), encoding: .plain(.f16)),
      TensorInfo(name: "model.layers.0.new.weight", shape: Shape(2, 2), encoding: .plain(.f16)),
      TensorInfo(name: "model.layers.1.new.weight", shape: Shape(2, 2), encoding: .plain(.f16)),
    ]
    #expect(try notes(tensors, Self.config("granite")) == [])
    for (key, value) in [("vocab_size", 10), ("hidden_size", 25), ("num_hidden_layers", 3)] {
      let config = Self.config("granite", .object([.init(key, JSONValue(value))]))
      #expect(error(tensors, config)?.kind == .malformed, "\(key)")
    }
    // More layers may predict several tokens.
    #expect(try notes(tensors, Self.config("granite", ["num_hidden_layers": 1])) == [])
  }

  @Test("a model type that mlx-lm does not have is noted") func unknownTypes() throws {
    let tensors = [TensorInfo(name: "a.weight", shape: Shape(2, 2), encoding: .plain(.f16))]
    let notes = try notes(tensors, Self.config("arcee"))
    #expect(notes.count == 1 && notes[0].contains("model type arcee"))
    #expect(try self.notes(tensors, [:]).count == 1)
    #expect(try self.notes(tensors, ["model_type": "xverse"]) == [])
  }
}
