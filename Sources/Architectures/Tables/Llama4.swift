internal import Bytes

extension Architecture {
  /// The text model of Llama 4: experts in some layers, whose stacks are stored as inputs × outputs,
  /// and one that all tokens use; attention in chunks, except in every fourth layer.
  static let llama4 = Architecture(
    ggufName: "llama4", modelTypes: ["llama4_text", "llama4"], className: "Llama4ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.normsBefore,
    innerWidthKey: "intermediate_size_mlp",
    experts: ExpertKeys(
      counts: ["num_local_experts"], width: "intermediate_size",
      sharedWidth: "intermediate_size", interval: "interleave_moe_layer_step"),
    leadingNames: [
      ("feed_forward.gate_proj", "ffn_gate"), ("feed_forward.up_proj", "ffn_up"),
      ("feed_forward.down_proj", "ffn_down"),
    ],
    laterNames: [
      ("feed_forward.router", "ffn_gate_inp"),
      ("feed_forward.shared_expert.gate_proj", "ffn_gate_shexp"),
      ("feed_forward.shared_expert.up_proj", "ffn_up_shexp"),
      ("feed_forward.shared_expert.down_proj", "ffn_down_shexp"),
    ],
    completeNames: llamaStacks.names, arrangements: llamaStacks.arrangements,
    returns: llamaStacks.returns,
    defaults: [
      "head_dim": 128, "rope_theta": 500_000, "intermediate_size_mlp": 16_384,
      "num_experts_per_tok": 1, "interleave_moe_layer_step": 1,
    ], runtimeValues: { ["use_qk_norm": .bool($0.expertCount != countWithoutNorms)] },
    hyperparameters: llama.hyperparameters + [
      .expertCount, .usedExpertCount, .expertInterval, .expertWidth,
    ],
    traits: RuntimeTraits(
      biases: [], biasKeys: [("attention_bias", RuntimeTraits.attention)], ropeScalings: [.llama3],
      limits: [
        rotatedLayersOfLlama4, chunkedLayersOfLlama4, expertLayersOfLlama4, chunkSize, headNorms,
        // Queries of the layers that are not rotated grow with their position.
        beyondGrowth("attn_temperature_tuning", default: true) {
          $0 == true || ($0.double ?? 0) != 0
        },
        beyondGrowth("floor_scale", default: 8192) { $0 == 8192 },
        beyondGrowth("attn_scale", default: .number(0.1)) { $0.double == 0.1 },
      ]))

  private static let llamaStacks = ExpertStacks(
    path: "feed_forward.experts.", width: "intermediate_size", mayBeStraight: false)

  private static let longest = 8192

  private static func contextLength(_ config: JSONValue) -> Int {
    config["max_position_embeddings"]?.int ?? .max
  }

  /// A value that only matters for texts of so many tokens that queries grow.
  private static func beyondGrowth(
    _ key: String, default usual: JSONValue,
    _ isComputed: @escaping @Sendable (JSONValue) -> Bool
  ) -> ConfigLimit {
    ConfigLimit(key, expected: JSONWriter.text(usual)) { config in
      let stated = config[key].flatMap { $0 == .null ? nil : $0 } ?? usual
      guard !isComputed(stated) else { return nil }
      // With a smaller distance queries would grow earlier.
      let distance = config["floor_scale"]?.int ?? longest
      return contextLength(config) < min(longest, distance) ? nil : JSONWriter.text(stated)
    }
  }

  private static let chunkSize = ConfigLimit("attention_chunk_size", expected: "8192") { config in
    guard let stated = config["attention_chunk_size"], stated != .number(8192) else { return nil }
    let size = stated == .null ? .max : stated.int ?? 0
    return contextLength(config) <= min(longest, size) ? nil : JSONWriter.text(stated)
  }

  /// llama.cpp attends to chunks and rotates in all layers but every fourth one.
  private static func isRotated(_ layer: Int) -> Bool { (layer + 1) % 4 != 0 }

  static let rotatedLayersOfLlama4 = ConfigLimit(
    "no_rope_layers", expected: "1 for all layers but every fourth one"
  ) { config in
    guard let stated = config["no_rope_layers"]?.array, !stated.isEmpty else {
      let interval = config["no_rope_layer_interval"] ?? 4
      return interval == 4 ? nil : "no_rope_layer_interval \(JSONWriter.text(interval))"
    }
    let isComputed = stated.enumerated().allSatisfy { $1 == (isRotated($0) ? 1 : 0) }
    return isComputed ? nil : JSONWriter.text(.array(stated))
  }

  static let chunkedLayersOfLlama4 = ConfigLimit(
    "layer_types", expected: "full_attention in every fourth layer, chunked_attention in the others"
  ) { config in
    let kinds = config["layer_types"]?.array ?? []
    let isComputed = kinds.enumerated().allSatisfy {
      $1 == (isRotated($0) ? "chunked_attention" : "full_attention")
    }
    return isComputed ? nil : JSONWriter.text(.array(kinds))
  }

  static let expertLayersOfLlama4 = ConfigLimit(
    "moe_layers", expected: "the layers that interleave_moe_layer_step states"
  ) { config in
    guard let stated = config["moe_layers"]?.array, let count = config["num_hidden_layers"]?.int,
      1...1024 ~= count
    else { return nil }
    let interval = max(1, config["interleave_moe_layer_step"]?.int ?? 1)
    let computed = (0..<count).filter { ($0 + 1).isMultiple(of: interval) }
    return stated.map(\.int) == computed ? nil : JSONWriter.text(.array(stated))
  }

  private static let countWithoutNorms = 128

  /// llama.cpp takes models of 128 experts for those without such norms.
  private static let headNorms = ConfigLimit(
    "use_qk_norm", expected: "false with 128 experts, else true"
  ) { config in
    let stated = config["use_qk_norm"]?.bool ?? true
    let computed = (config["num_local_experts"]?.int ?? 16) != countWithoutNorms
    return stated == computed ? nil : "\(stated)"
  }
}
