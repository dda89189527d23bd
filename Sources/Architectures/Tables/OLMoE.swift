internal import Bytes

extension Architecture {
  /// OLMoE, with experts in all layers.
  static let olmoe = Architecture(
    ggufName: "olmoe", modelTypes: ["olmoe"], className: "OlmoeForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.attentionNorms + CommonNames.normsBefore
      + CommonNames.router, experts: ExpertKeys(), expertNames: CommonNames.experts,
    stackNames: CommonNames.stacks,
    needsHead: true, normsAllHeads: true,
    hyperparameters: [.expertCount, .usedExpertCount],
    traits: RuntimeTraits(
      biasKeys: [("attention_bias", RuntimeTraits.attention)], headsFillWidth: true,
      limits: [
        ConfigLimit("norm_topk_prob", only: [false]), ConfigLimit("clip_qkv", only: []),
        .sameHeads,
      ]))
}
