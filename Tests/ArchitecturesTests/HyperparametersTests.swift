import Architectures
import Bytes
import Formats
import TensorModel
import TestSupport
import Testing

/// Hyperparameters mean the same when they are read from `config.json` and from GGUF metadata.
@Suite struct HyperparametersTests {
  /// A config that every architecture accepts, with more than each needs.
  private static func config(_ architecture: Architecture, rope: JSONValue = .null) -> JSONValue {
    let config: JSONValue = [
      "model_type": .string(architecture.modelTypes[0]), "num_hidden_layers": 2,
      "max_position_embeddings": 131_072, "hidden_size": 96, "intermediate_size": 160,
      "is_causal": false, "layer_types": ["full_attention", "sliding_attention"],
      "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": .number(1e-6),
      "vocab_size": 64, "sliding_window": 512, "attn_logit_softcapping": .number(50.5),
      "final_logit_softcapping": .number(30.25), "rope_theta": .number(500_000),
      "rope_scaling": rope, "attention_multiplier": .number(0.5), "logits_scaling": 8,
    ]
    let experts = specialKeys(architecture.modelTypes[0], experts: 3, heads: 4)
    // Its heads are as wide as the model, which the default of transformers does not fit.
    let heads: JSONValue = architecture.modelTypes[0] == "glm" ? ["head_dim": 24] : [:]
    return config.overridden(by: experts).overridden(by: heads)
  }

  /// The metadata that a checkpoint with a config gets.
  private static func metadata(
    _ config: JSONValue, _ architecture: Architecture
  ) throws(ModelError) -> Metadata {
    let parameters = try Hyperparameters(config, architecture, tokenCount: 64)
    let weights = architecture.requiredNames(layerCount: 2, expertCount: 3)
    let biases = architecture.biasNames(of: architecture.statedBiases(config), layerCount: 2)
    let tensors = (weights + biases).compactMap { name in
      architecture.expectedShape(ofHuggingFaceName: name, parameters.sizes, tokenCount: 64)
        .flatMap { Shape(validating: $0.dimensions) }
        .map { TensorInfo(name: name, shape: $0, encoding: .plain(.f16)) }
    }
    return try GGUFTranslation(
      tensors, config: config, generation: nil, name: "test",
      numbers: { (_) throws(ModelError) in [1] }, tokenizer: { (_, _) in nil }
    ).metadata
  }

  private static func expectSame(
    _ found: Hyperparameters, _ expected: Hyperparameters, _ architecture: Architecture
  ) {
    let name = "\(architecture.modelTypes)"
    #expect(found.layerCount == expected.layerCount, "\(name)")
    #expect(found.contextLength == expected.contextLength, "\(name)")
    #expect(found.hiddenSize == expected.hiddenSize, "\(name)")
    #expect(found.feedForwardSize == expected.feedForwardSize, "\(name)")
    #expect(found.headCount == expected.headCount, "\(name)")
    #expect(found.keyValueHeadCount == expected.keyValueHeadCount, "\(name)")
    #expect(found.headSize == expected.headSize, "\(name)")
    #expect(found.statesHeadSize == expected.statesHeadSize, "\(name)")
    #expect(Float(found.normEpsilon) == Float(expected.normEpsilon), "\(name)")
    #expect(found.vocabularySize == expected.vocabularySize, "\(name)")
    #expect(found.attentionSoftcap == expected.attentionSoftcap, "\(name)")
    #expect(found.finalSoftcap == expected.finalSoftcap, "\(name)")
    #expect(found.slidingWindow == expected.slidingWindow, "\(name)")
    #expect(found.slidingLayers == expected.slidingLayers, "\(name)")
    #expect(found.isCausal == expected.isCausal, "\(name)")
    #expect(found.expertCount == expected.expertCount, "\(name)")
    #expect(found.usedExpertCount == expected.usedExpertCount, "\(name)")
    #expect(found.experts == expected.experts, "\(name)")
    let multipliers = expected.multipliers.map { Float($0) }
    #expect(found.multipliers.map { Float($0) } == multipliers, "\(name)")
    #expect(found.flags == expected.flags, "\(name)")
    #expect(found.rope.base == expected.rope.base, "\(name)")
    #expect(found.rope.rotatedCount == expected.rope.rotatedCount, "\(name)")
  }

  @Test("config.json and the metadata made from it give the same hyperparameters")
  func bothSources() throws {
    // GGUF files with latent attention, states, or with layers that differ, do not become
    // checkpoints.
    for architecture in Architectures.decoders
    where !architecture.hasLatentAttention && architecture.kindNames.isEmpty
      && architecture.stateSpace == nil && architecture.variedLayers == nil
    {
      let config = Self.config(architecture)
      let expected = try Hyperparameters(config, architecture, tokenCount: 64)
      let metadata = try Self.metadata(config, architecture)
      Self.expectSame(try Hyperparameters(metadata, architecture), expected, architecture)
    }
  }

  @Test("linear and YaRN scaling survive in the metadata") func scaling() throws {
    let llama = try #require(Architectures.forModelType("llama"))
    let kinds: [JSONValue] = [
      ["rope_type": "linear", "factor": .number(4)],
      [
        "rope_type": "yarn", "factor": .number(2.5), "original_max_position_embeddings": 4096,
        "beta_fast": .number(32), "beta_slow": .number(1),
      ],
    ]
    for rope in kinds {
      let config = Self.config(llama, rope: rope)
      let expected = try Hyperparameters(config, llama, tokenCount: 64)
      let found = try Hyperparameters(try Self.metadata(config, llama), llama)
      #expect(found.rope.scaling == expected.rope.scaling && found.rope.scaling != .none)
      let length = expected.rope.scaling.kind == .yarn ? 4096 : nil
      #expect(found.rope.originalContextLength == length)
    }
  }

  @Test("null in config.json means that the default holds") func nulls() throws {
    let gemma = try #require(Architectures.forModelType("gemma2"))
    let config = Self.config(gemma).overridden(by: ["sliding_window": .null, "head_dim": .null])
    let found = try Hyperparameters(config, gemma, tokenCount: 64)
    #expect(found.slidingWindow == 4096 && found.headSize == 256)
  }

  @Test(
    "the default size of heads gives way to hidden_size / heads if the weights have that",
    arguments: [(nil, 256), (96, 24), (1024, 256), (48, 256)] as [(Int?, Int)])
  func headSize(rows: Int?, size: Int) throws {
    let gemma = try #require(Architectures.forModelType("gemma"))
    let found = try Hyperparameters(
      Self.config(gemma), gemma, tokenCount: 64, queryRowCount: rows)
    #expect(found.headSize == size && found.statesHeadSize)
    let stated = Self.config(gemma).overridden(by: ["head_dim": 12])
    #expect(
      try Hyperparameters(stated, gemma, tokenCount: 64, queryRowCount: rows).headSize == 12)
  }

  @Test("layers with sliding attention are listed unless they alternate as in llama.cpp")
  func slidingLayers() throws {
    let gemma = try #require(Architectures.forModelType("gemma3_text"))
    let (slides, attendsToAll): (JSONValue, JSONValue) = ("sliding_attention", "full_attention")
    let usual: [JSONValue] = Array(repeating: slides, count: 5) + [attendsToAll, slides]
    for (changes, expected) in [
      (["layer_types": .null], nil), (["layer_types": .array(usual)], nil),
      (["layer_types": .null, "sliding_window_pattern": 6], nil),
      (
        ["layer_types": .null, "sliding_window_pattern": 3],
        [true, true, false, true, true, false, true]
      ),
      (
        ["layer_types": .array(usual.reversed())], [true, false, true, true, true, true, true]
      ),
      (["layer_types": .null, "sliding_window_pattern": 1], Array(repeating: false, count: 7)),
    ] as [(JSONValue, [Bool]?)] {
      let config = Self.config(gemma).overridden(by: ["num_hidden_layers": 7])
      let found = try Hyperparameters(
        config.overridden(by: changes), gemma, tokenCount: 64)
      #expect(found.slidingLayers == expected)
      #expect(found.slidingWindow == (expected?.contains(true) == false ? nil : 512))
    }
  }

  @Test(
    "a list with a value for each layer is unsupported, with its key",
    arguments: ["intermediate_size", "num_key_value_heads", "num_attention_heads"])
  func perLayer(key: String) throws {
    let llama = try #require(Architectures.forModelType("llama"))
    let config = Self.config(llama).overridden(by: .object([.init(key, [4, 2])]))
    let error = Laws.error { () throws(ModelError) in
      try Hyperparameters(config, llama, tokenCount: 64)
    }
    #expect(error?.kind == .unsupported && error?.tensor == key)
  }

  @Test("lists of equal numbers for experts mean the number") func equalLists() throws {
    let architecture = try #require(Architectures.forModelType("hunyuan_v1_moe"))
    let config = Self.config(architecture)
    let expected = try Hyperparameters(config, architecture, tokenCount: 64)
    let lists: JSONValue = [
      "moe_topk": [2, 2], "num_shared_expert": [1, 1], "num_experts": [3, 3],
    ]
    let found = try Hyperparameters(
      config.overridden(by: lists), architecture, tokenCount: 64)
    #expect(found == expected && found.usedExpertCount == 2)
    for key in ["moe_topk", "num_experts"] {
      let error = Laws.error { () throws(ModelError) in
        try Hyperparameters(config.setting(key, to: [2, 3]), architecture, tokenCount: 64)
      }
      #expect(error?.kind == .unsupported && error?.tensor == key)
    }
  }

  @Test("tensors show how many first layers have no experts, if the metadata does not state it")
  func leadingLayers() throws {
    let architecture = try #require(Architectures.forModelType("hy_v3"))
    let metadata = try Self.metadata(Self.config(architecture), architecture)
    let shape = try #require(Shape(validating: [3, 96]))
    let tensors = [2, 1].map {
      TensorInfo(name: "blk.\($0).ffn_gate_inp.weight", shape: shape, encoding: .plain(.f32))
    }
    let found = try Hyperparameters(metadata, architecture, tensors: tensors)
    #expect(found.experts?.leadingCount == 1 && found.experts?.sharedCount == 1)
  }

  @Test("a config without a required value is malformed, with its key") func missing() throws {
    let llama = try #require(Architectures.forModelType("llama"))
    for key in [
      "num_hidden_layers", "max_position_embeddings", "hidden_size", "intermediate_size",
      "num_attention_heads", "rms_norm_eps",
    ] {
      let config = Self.config(llama).overridden(by: .object([.init(key, .null)]))
      let error = Laws.error { () throws(ModelError) in
        try Hyperparameters(config, llama, tokenCount: 64)
      }
      #expect(error?.kind == .malformed && error?.tensor == key)
    }
  }

  @Test("metadata without a required value is malformed, with its key") func missingMetadata()
    throws
  {
    let llama = try #require(Architectures.forModelType("llama"))
    let whole = try Self.metadata(Self.config(llama), llama)
    for key in ["block_count", "embedding_length", "attention.head_count"] {
      var metadata = whole
      metadata["llama.\(key)"] = nil
      let error = Laws.error { () throws(ModelError) in try Hyperparameters(metadata, llama) }
      #expect(error?.kind == .malformed && error?.tensor == "llama.\(key)")
    }
  }
}
