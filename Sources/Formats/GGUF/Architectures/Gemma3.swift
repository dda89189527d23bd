extension Architecture {
  /// Gemma 3, and the text model of one that takes pictures.
  static let gemma3 = Architecture(
    ggufName: "gemma3", modelTypes: ["gemma3_text", "gemma3"], interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.attentionNorms + CommonNames.feedForward
      + CommonNames.normsAround, addsOneToNorms: true, huggingFacePrefix: "language_model.")
}
