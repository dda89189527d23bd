extension Architecture {
  /// Gemma 2; its embeddings are its head.
  static let gemma2 = Architecture(
    ggufName: "gemma2", modelTypes: ["gemma2"], interleavesRotaryRows: false,
    modelNames: CommonNames.ends,
    layerNames: CommonNames.attention + CommonNames.feedForward + CommonNames.normsAround,
    addsOneToNorms: true)
}
