internal import Bytes

extension Architecture {
  /// The text model of Qwen 3 VL, which is Qwen 3 with three positions for a token.
  static let qwen3VL = Architecture(
    ggufName: "qwen3vl", modelTypes: ["qwen3_vl", "qwen3_vl_text"], interleavesRotaryRows: false,
    modelNames: qwen3.modelNames, layerNames: qwen3.layerNames, defaults: qwen3.defaults,
    hyperparameters: [.ropeSections, .deepstackCount], traits: qwen3.traits)

  /// What a file of it in GGUF becomes, since transformers has no class with a head for its text model.
  static let qwen3VLText = qwen3.textAlone(of: qwen3VL)
}
