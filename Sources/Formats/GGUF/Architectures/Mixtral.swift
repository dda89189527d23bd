extension Architecture {
  /// Mixtral: a llama with experts.
  ///
  /// The matrices of the experts have no pairs: GGUF stacks those of a layer into one tensor.
  static let mixtral = Architecture(
    ggufName: llama.ggufName, modelTypes: ["mixtral"],
    interleavesRotaryRows: llama.interleavesRotaryRows, modelNames: llama.modelNames,
    layerNames: CommonNames.attention + CommonNames.normsBefore + [
      ("block_sparse_moe.gate", "ffn_gate_inp")
    ])
}
