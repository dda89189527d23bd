extension Architecture {
  /// OLMo 2, with norms after attention and the feed-forward network.
  static let olmo2 = Architecture(
    ggufName: "olmo2", modelTypes: ["olmo2"], className: "Olmo2ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.attentionNorms + CommonNames.feedForward
      + CommonNames.normsAfter, needsHead: true, normsAllHeads: true, hyperparameters: [],
    traits: RuntimeTraits(
      biasKeys: [("attention_bias", RuntimeTraits.attention)], headsFillWidth: true))
}
