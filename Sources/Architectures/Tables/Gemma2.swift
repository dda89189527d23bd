internal import Bytes

extension Architecture {
  /// Gemma 2; its embeddings are the head.
  static let gemma2 = Architecture(
    ggufName: "gemma2", modelTypes: ["gemma2"], className: "Gemma2ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends,
    layerNames: CommonNames.attention + CommonNames.feedForward + CommonNames.normsAround,
    addsOneToNorms: true, leavesOutHead: true,
    defaults: [
      "head_dim": 256, "attn_logit_softcapping": 50, "final_logit_softcapping": 30,
      "sliding_window": 4096,
    ],
    hyperparameters: [.attentionSoftcap, .finalSoftcap, .slidingWindow, .slidingLayers],
    neverAddsSpacePrefix: true,
    traits: RuntimeTraits(
      activation: .gelu, biasKeys: [("attention_bias", RuntimeTraits.attention)],
      sliding: .alternating(period: 2), alwaysCaps: true, scalesQueries: true,
      // The 27B model.
      widthScaledLayerCount: 46))
}
