internal import Bytes

extension Architecture {
  /// ERNIE 4.5 with experts in all layers but the first ones.
  static let ernie45MoE = Architecture(
    ggufName: "ernie4_5-moe", modelTypes: ["ernie4_5_moe"], className: "Ernie4_5_MoeForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.normsBefore,
    experts: ExpertKeys(
      counts: ["moe_num_experts"], usedCount: "moe_k", width: "moe_intermediate_size",
      sharedCount: "moe_num_shared_experts", leadingCount: "moe_layer_start_index"),
    expertNames: CommonNames.experts, leadingNames: CommonNames.feedForward,
    laterNames: CommonNames.router + CommonNames.sharedExperts,
    completeNames: [("mlp.moe_statics.e_score_correction_bias", ["exp_probs_b.bias"])],
    stackNames: CommonNames.stacks,
    otherNames: [
      (
        "mlp.gate.moe_statics.e_score_correction_bias",
        "mlp.moe_statics.e_score_correction_bias"
      )
    ],
    defaults: ["rope_theta": 500_000, "moe_layer_start_index": 1, "moe_num_shared_experts": 2],
    hyperparameters: [
      .expertCount, .usedExpertCount, .expertInterval, .leadingCount, .expertWidth,
      .sharedExpertCount, .sharedExpertWidth,
    ],
    traits: RuntimeTraits(
      biases: [],
      limits: [
        ConfigLimit("use_bias", only: [false]), ConfigLimit("moe_layer_interval", only: [1]),
        ConfigLimit("moe_layer_end_index", expected: "the last layer") {
          let end = $0["moe_layer_end_index"]?.int
          let isLast = end == nil || end == -1 || end.map { $0 + 1 } == $0["num_hidden_layers"]?.int
          return isLast ? nil : end.map(String.init)
        },
      ]))
}
