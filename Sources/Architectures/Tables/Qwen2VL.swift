extension Architecture {
  /// The text models of Qwen 2 VL and 2.5 VL, which are Qwen 2 with three positions for a token.
  static let qwen2VL = Architecture(
    ggufName: "qwen2vl",
    modelTypes: ["qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text"],
    interleavesRotaryRows: false, modelNames: qwen2.modelNames, layerNames: qwen2.layerNames,
    hyperparameters: [.ropeSections],
    traits: RuntimeTraits(
      biases: RuntimeTraits.attentionInputs, headsFillWidth: true, sliding: .unsupported))
}
