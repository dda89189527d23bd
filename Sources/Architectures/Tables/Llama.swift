extension Architecture {
  /// All versions of Llama with one feed-forward network in a layer.
  static let llama = Architecture(
    ggufName: "llama", modelTypes: ["llama"], className: "LlamaForCausalLM",
    interleavesRotaryRows: true,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.feedForward + CommonNames.normsBefore,
    hyperparameters: [.vocabularySize, .rotatedCount],
    traits: RuntimeTraits(
      biases: RuntimeTraits.attention.union(RuntimeTraits.feedForward),
      biasKeys: [
        ("attention_bias", RuntimeTraits.attention), ("mlp_bias", RuntimeTraits.feedForward),
      ], ropeScalings: [.linear, .dynamic, .yarn, .llama3]))
}
