internal import Bytes

extension Architecture {
  /// Gemma 3, and the text model of its versions with a vision tower.
  static let gemma3 = Architecture(
    ggufName: "gemma3", modelTypes: ["gemma3_text", "gemma3"], interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.attentionNorms + CommonNames.feedForward
      + CommonNames.normsAround, addsOneToNorms: true,
    // The config of the 4B model states little more than its width and its number of layers.
    defaults: [
      "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
      "rms_norm_eps": .number(1e-6),
      "max_position_embeddings": 131_072, "rope_theta": 1_000_000, "rope_local_base_freq": 10_000,
      "sliding_window": 4096,
    ],
    hyperparameters: [.finalSoftcap, .slidingWindow, .slidingLayers], neverAddsSpacePrefix: true,
    traits: RuntimeTraits(
      activation: .gelu, biasKeys: [("attention_bias", RuntimeTraits.attention)],
      sliding: .alternating(period: 6), scalesQueries: true,
      // The 27B model.
      widthScaledLayerCount: 62))
}
