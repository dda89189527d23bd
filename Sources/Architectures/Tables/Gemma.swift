internal import Bytes

extension Architecture {
  /// The first Gemma; its embeddings are the head.
  static let gemma = Architecture(
    ggufName: "gemma", modelTypes: ["gemma"], className: "GemmaForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends,
    layerNames: CommonNames.attention + CommonNames.feedForward + CommonNames.normsBefore,
    addsOneToNorms: true, leavesOutHead: true, defaults: ["head_dim": 256], hyperparameters: [],
    neverAddsSpacePrefix: true,
    traits: RuntimeTraits(
      activation: .firstGelu, biasKeys: [("attention_bias", RuntimeTraits.attention)]))
}
