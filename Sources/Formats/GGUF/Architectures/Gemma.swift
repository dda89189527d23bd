internal import TensorModel

extension Architecture {
  /// Gemma, the first; its embeddings are its head.
  static let gemma = Architecture(
    ggufName: "gemma", modelTypes: ["gemma"], interleavesRotaryRows: false,
    modelNames: CommonNames.ends,
    layerNames: CommonNames.attention + CommonNames.feedForward + CommonNames.normsBefore,
    addsOneToNorms: true, leavesOutHead: true
  ) { (parameters) throws(ModelError) in
    try parameters.writeCommon()
    parameters.writeHeadSize(try parameters.count("head_dim") ?? 256)
  }
}
