internal import Bytes

extension Architecture {
  /// Qwen 3 with experts.
  static let qwen3MoE = Architecture(
    ggufName: "qwen3moe", modelTypes: ["qwen3_moe"], className: "Qwen3MoeForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.attentionNorms + CommonNames.normsBefore
      + CommonNames.router, experts: ExpertKeys(width: "moe_intermediate_size"),
    expertNames: CommonNames.experts, stackNames: CommonNames.stacks,
    hyperparameters: [.expertCount, .usedExpertCount, .expertWidth],
    traits: RuntimeTraits(
      biasKeys: [("attention_bias", RuntimeTraits.attention)], sliding: .unsupported,
      limits: ConfigLimit.expertsInAllLayers + [
        ConfigLimit("norm_topk_prob", only: [true], default: false)
      ]))
}
