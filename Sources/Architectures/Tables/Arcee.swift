extension Architecture {
  /// Arcee's AFM, which is Llama with a feed-forward network without a gate.
  static let arcee = Architecture(
    ggufName: "arcee", modelTypes: ["arcee"], className: "ArceeForCausalLM",
    interleavesRotaryRows: llama.interleavesRotaryRows,
    modelNames: llama.modelNames,
    layerNames: CommonNames.attention + CommonNames.normsBefore
      + CommonNames.plainFeedForward,
    hyperparameters: llama.hyperparameters,
    traits: RuntimeTraits(
      activation: .squaredReLU,
      biasKeys: [
        ("attention_bias", RuntimeTraits.attention), ("mlp_bias", RuntimeTraits.feedForward),
      ], ropeScalings: llama.traits.ropeScalings))
}
