internal import TensorModel

extension Architecture {
  /// Phi 3 and 4: queries, keys and values in one matrix, gate and up in another.
  static let phi3 = Architecture(
    ggufName: "phi3", modelTypes: ["phi3"], interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.normsBefore + [
      ("self_attn.qkv_proj", "attn_qkv"),
      ("self_attn.o_proj", "attn_output"),
      ("mlp.gate_up_proj", "ffn_up"),
      ("mlp.down_proj", "ffn_down"),
    ]
  ) { (parameters) throws(ModelError) in
    try parameters.writeCommon()
    let rope = parameters.rope
    let positions = try parameters.required("max_position_embeddings")
    let original = rope.originalPositionCount ?? positions
    let rotated = try rope.rotatedCount(headSize: try parameters.headSize())
    parameters.write("rope.scaling.original_context_length", original)
    parameters.write("rope.dimension_count", rotated)
    // Phi 4, which has no window, is told by a window of 0.
    parameters.write("attention.sliding_window", try parameters.count("sliding_window") ?? 0)
    guard try rope.longFactors(pairCount: rotated / 2) != nil else { return }
    parameters.write(
      "rope.scaling.attn_factor",
      try rope.attentionFactor(
        stretch: Double(positions) / Double(original), originalCount: original))
  }
}
