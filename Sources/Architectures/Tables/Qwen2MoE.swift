internal import Bytes

extension Architecture {
  /// Qwen 2 and 2.5 with experts, one of which all tokens use.
  static let qwen2MoE = Architecture(
    ggufName: "qwen2moe", modelTypes: ["qwen2_moe"], className: "Qwen2MoeForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.normsBefore + CommonNames.router
      + CommonNames.sharedExpert,
    experts: ExpertKeys(
      width: "moe_intermediate_size", sharedWidth: "shared_expert_intermediate_size"),
    expertNames: CommonNames.experts, stackNames: CommonNames.stacks, needsHead: true,
    hyperparameters: [.expertCount, .usedExpertCount, .expertWidth, .sharedExpertWidth],
    traits: RuntimeTraits(
      biasKeys: [("qkv_bias", RuntimeTraits.attentionInputs)], headsFillWidth: true,
      sliding: .unsupported,
      limits: ConfigLimit.expertsInAllLayers + [ConfigLimit("norm_topk_prob", only: [false])]))
}
