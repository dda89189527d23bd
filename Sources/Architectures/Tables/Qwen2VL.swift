extension Architecture {
  /// The text models of Qwen 2 VL and 2.5 VL, which are Qwen 2 with three positions for a token.
  static let qwen2VL = Architecture(
    ggufName: "qwen2vl",
    modelTypes: ["qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text"],
    interleavesRotaryRows: false, modelNames: qwen2.modelNames, layerNames: qwen2.layerNames,
    hyperparameters: [.ropeSections],
    traits: RuntimeTraits(
      biases: RuntimeTraits.attentionInputs, headsFillWidth: true, sliding: .unsupported))

  /// What a file of it in GGUF becomes, since transformers has no class with a head for its text model.
  static let qwen2VLText = qwen2.textAlone(of: qwen2VL)
}
