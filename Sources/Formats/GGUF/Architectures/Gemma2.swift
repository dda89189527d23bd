internal import TensorModel

extension Architecture {
  /// Gemma 2; its embeddings are its head.
  static let gemma2 = Architecture(
    ggufName: "gemma2", modelTypes: ["gemma2"], interleavesRotaryRows: false,
    modelNames: CommonNames.ends,
    layerNames: CommonNames.attention + CommonNames.feedForward + CommonNames.normsAround,
    addsOneToNorms: true, leavesOutHead: true
  ) { (parameters) throws(ModelError) in
    try parameters.writeCommon()
    parameters.writeHeadSize(try parameters.count("head_dim") ?? 256)
    parameters.write(
      "attn_logit_softcapping", try parameters.number("attn_logit_softcapping") ?? 50)
    parameters.write(
      "final_logit_softcapping", try parameters.number("final_logit_softcapping") ?? 30)
    parameters.write("attention.sliding_window", try parameters.count("sliding_window") ?? 4096)
  }
}
