extension Architecture {
  /// Mistral: a llama in all but its `model_type`.
  static let mistral = Architecture(
    ggufName: llama.ggufName, modelTypes: ["mistral"],
    interleavesRotaryRows: llama.interleavesRotaryRows, modelNames: llama.modelNames,
    layerNames: llama.layerNames, write: llama.write)
}
