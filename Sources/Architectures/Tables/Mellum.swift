internal import Bytes

extension Architecture {
  /// Mellum 2, which is Qwen 3 with experts and with sliding attention in some layers.
  static let mellum = Architecture(
    ggufName: "mellum", modelTypes: ["mellum"], className: "MellumForCausalLM",
    interleavesRotaryRows: qwen3MoE.interleavesRotaryRows, modelNames: qwen3MoE.modelNames,
    layerNames: qwen3MoE.layerNames, experts: qwen3MoE.experts, expertNames: qwen3MoE.expertNames,
    stackNames: qwen3MoE.stackNames, statesRopeByKind: true, leftOut: ["mtp."], needsHead: true,
    defaults: [
      "head_dim": 128, "sliding_window": 1024, "rope_parameters": usualRope,
    ],
    hyperparameters: qwen3MoE.hyperparameters + [.slidingWindow, .everySlidingLayer],
    traits: RuntimeTraits(
      biases: [], biasKeys: qwen3MoE.traits.biasKeys, sliding: .alternating(period: 4),
      limits: [
        ConfigLimit("norm_topk_prob", only: [true]),
        // Transformers reads rope_parameters alone.
        ConfigLimit("rope_scaling", only: []),
        ConfigLimit("mlp_layer_types", expected: "sparse in all layers") {
          let other = $0["mlp_layer_types"]?.array?.first { $0 != "sparse" }
          return other.map { JSONWriter.text($0) }
        },
        // Without a list, transformers has full attention in all layers.
        ConfigLimit("layer_types", expected: "a list, or sliding_window null") {
          ($0["layer_types"] ?? .null) == .null && $0["sliding_window"] != .null ? "nothing" : nil
        },
        oneBase,
      ]))

  private static let usualRope: JSONValue = [
    "full_attention": ["rope_type": "default", "rope_theta": 500_000],
    "sliding_attention": ["rope_type": "default", "rope_theta": 10_000],
  ]

  /// llama.cpp does not read the base of sliding layers.
  private static let oneBase = ConfigLimit(
    "rope_theta", expected: "the same number for full_attention and sliding_attention"
  ) { config in
    guard config["layer_types"]?.array?.contains("sliding_attention") == true else { return nil }
    let rope = config["rope_parameters"] ?? usualRope
    let bases = ["full_attention", "sliding_attention"].map { rope[$0]?["rope_theta"]?.double }
    guard let full = bases[0], let sliding = bases[1], full != sliding else { return nil }
    return "\(full) and \(sliding)"
  }
}
