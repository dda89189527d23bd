internal import TensorModel

extension Architecture {
  /// Llama, all versions with one feed-forward network a layer.
  static let llama = Architecture(
    ggufName: "llama", modelTypes: ["llama"], interleavesRotaryRows: true,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.feedForward + CommonNames.normsBefore
  ) { (parameters) throws(ModelError) in
    try parameters.writeCommon()
    try parameters.writeLlama()
  }
}
