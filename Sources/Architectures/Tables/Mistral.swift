extension Architecture {
  /// Mistral, which is the same as Llama except for its `model_type`.
  static let mistral = Architecture(
    ggufName: llama.ggufName, modelTypes: ["mistral"], className: "MistralForCausalLM",
    interleavesRotaryRows: llama.interleavesRotaryRows, modelNames: llama.modelNames,
    layerNames: llama.layerNames, hyperparameters: llama.hyperparameters,
    traits: llama.traits.sliding(.ignored(defaultWindow: 4096)))
}
