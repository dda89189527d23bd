internal import Bytes

extension Architecture {
  /// Gemma 3, and the text model of its versions with a vision tower.
  static let gemma3 = Architecture(
    ggufName: "gemma3", modelTypes: ["gemma3_text", "gemma3"], className: "Gemma3ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.attentionNorms + CommonNames.feedForward
      + CommonNames.normsAround, addsOneToNorms: true,
    defaults: [
      "head_dim": 256, "rope_theta": 1_000_000, "rope_local_base_freq": 10_000,
      "sliding_window": 4096,
    ],
    hyperparameters: [.finalSoftcap, .slidingWindow, .slidingLayers], neverAddsSpacePrefix: true,
    traits: RuntimeTraits(
      activation: .gelu, biasKeys: [("attention_bias", RuntimeTraits.attention)],
      sliding: .alternating(period: 6), scalesQueries: true,
      // The 27B model.
      widthScaledLayerCount: 62))
}
