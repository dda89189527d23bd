internal import Bytes

extension Architecture {
  /// SmolLM3, which is Llama without rotary embeddings in every fourth layer.
  static let smolLM3 = Architecture(
    ggufName: "smollm3", modelTypes: ["smollm3"], className: "SmolLM3ForCausalLM",
    interleavesRotaryRows: llama.interleavesRotaryRows, modelNames: llama.modelNames,
    layerNames: llama.layerNames, defaults: ["rope_theta": 2_000_000],
    hyperparameters: llama.hyperparameters,
    traits: RuntimeTraits(
      biasKeys: [
        ("attention_bias", RuntimeTraits.attention), ("mlp_bias", RuntimeTraits.feedForward),
      ], sliding: .unsupported, limits: [rotatedLayers]))

  /// llama.cpp rotates in all layers but every fourth one.
  private static let rotatedLayers = ConfigLimit(
    "no_rope_layers", expected: "1 for all layers but every fourth one"
  ) { config in
    let stated = config["no_rope_layers"]?.array?.map(\.int)
    let interval = config["no_rope_layer_interval"]?.int ?? 4
    let layers = stated ?? (1...64).map { $0 % interval == 0 ? 0 : 1 }
    let isComputed = layers.enumerated().allSatisfy { $1 == (($0 + 1) % 4 == 0 ? 0 : 1) }
    return isComputed ? nil : layers.map { $0.map(String.init) ?? "?" }.joined(separator: ", ")
  }
}
