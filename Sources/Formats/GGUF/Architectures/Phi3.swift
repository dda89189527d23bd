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
    ])
}
