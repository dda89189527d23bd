internal import Bytes
internal import TensorModel

extension Architecture {
  /// Gemma 3, and the text model of one that takes pictures.
  static let gemma3 = Architecture(
    ggufName: "gemma3", modelTypes: ["gemma3_text", "gemma3"], interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.attentionNorms + CommonNames.feedForward
      + CommonNames.normsAround, addsOneToNorms: true, huggingFacePrefix: "language_model."
  ) { (parameters) throws(ModelError) in
    try parameters.writeCommon()
    parameters.writeHeadSize(try parameters.count("head_dim") ?? 256)
    if parameters.rope.base == nil { parameters.write("rope.freq_base", 1_000_000.0) }
    if let cap = try parameters.number("final_logit_softcapping") {
      parameters.write("final_logit_softcapping", cap)
    }
    if parameters.config["sliding_window_pattern"]?.int != 1 {
      parameters.write("attention.sliding_window", try parameters.count("sliding_window") ?? 4096)
    }
  }
}
