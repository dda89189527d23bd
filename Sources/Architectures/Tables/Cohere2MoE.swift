internal import Bytes

extension Architecture {
  /// Command A with experts in all layers but the first ones.
  static let cohere2MoE = Architecture(
    ggufName: "cohere2moe", modelTypes: ["cohere2_moe"], className: "Cohere2MoeForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + [("input_layernorm", "attn_norm")],
    innerWidthKey: "prefix_dense_intermediate_size",
    experts: ExpertKeys(
      counts: ["num_experts"], width: "intermediate_size", sharedCount: "num_shared_experts",
      leadingCount: "first_k_dense_replace", layerKinds: "mlp_layer_types"),
    expertNames: CommonNames.experts, leadingNames: CommonNames.feedForward,
    laterNames: CommonNames.router + CommonNames.sharedExperts,
    stackNames: CommonNames.stacks,
    defaults: [
      "head_dim": 128, "sliding_window": 4096, "logit_scale": .number(0.0625), "num_experts": 8,
      "num_experts_per_tok": 2, "num_shared_experts": 0, "first_k_dense_replace": 0,
      "norm_topk_prob": true, "layer_norm_eps": .number(1e-5),
    ],
    leavesOutPredictionLayers: true, normEpsilon: cohere.normEpsilon,
    multipliers: cohere.multipliers, flags: [("norm_topk_prob", "expert_weights_norm")],
    hyperparameters: [
      .slidingWindow, .everySlidingLayer, .vocabularySize, .rotatedCount, .noRopeScaling,
      .expertCount, .usedExpertCount, .expertWidth, .leadingCount, .sharedExpertCountIfAny,
      .sharedExpertWidth, .routerFunction, .rmsEpsilonIfAny,
    ],
    traits: RuntimeTraits(
      biases: [], biasKeys: [("attention_bias", RuntimeTraits.attention)], ropeScalings: [],
      sliding: .alternating(period: 4),
      limits: [
        ConfigLimit("shared_expert_combination_strategy", only: ["average"]),
        ConfigLimit("expert_selection_fn", expected: "sigmoid or softmax") {
          guard let name = $0["expert_selection_fn"], name != .null else { return nil }
          return name == "sigmoid" || name == "softmax" ? nil : JSONWriter.text(name)
        },
        // A softmax of the chosen experts is that of all experts, normalized.
        ConfigLimit("norm_topk_prob", expected: "true with expert_selection_fn softmax") {
          $0["norm_topk_prob"] == false && $0["expert_selection_fn"] != "sigmoid" ? "false" : nil
        },
        ConfigLimit("prefix_dense_sliding_window_pattern", only: [1]),
        ConfigLimit("layer_types", expected: "a list") {
          ($0["layer_types"] ?? .null) == .null ? "nothing" : nil
        },
        // Without a window, transformers rotates in the first layers only.
        ConfigLimit("sliding_window", expected: "a window") {
          $0["sliding_window"] == .null ? "null" : nil
        },
      ]))
}
