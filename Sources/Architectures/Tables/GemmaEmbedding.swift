internal import Bytes

extension Architecture {
  /// The models of Gemma 3 that embed texts: tokens attend to later ones too, and there is no head.
  static let gemmaEmbedding = Architecture(
    ggufName: "gemma-embedding", modelTypes: ["gemma3_text"], className: "Gemma3TextModel",
    interleavesRotaryRows: false,
    modelNames: gemma3.modelNames, layerNames: gemma3.layerNames, addsOneToNorms: true,
    leavesOutHead: true, defaults: gemma3.defaults,
    hyperparameters: [.slidingWindow, .slidingLayers], neverAddsSpacePrefix: true,
    traits: RuntimeTraits(
      activation: .gelu, biasKeys: [("attention_bias", RuntimeTraits.attention)],
      sliding: .alternating(period: 6), scalesQueries: true, bidirectionalKinds: [true],
      appliesDenseLayers: true),
    isMeant: {
      $0["use_bidirectional_attention"] == true && TextConfig.predictsTokens($0) == false
    })
}
