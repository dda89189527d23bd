internal import Bytes

extension Architecture {
  /// ERNIE 4.5 without experts, which is Llama with the rows of queries and keys in pairs.
  static let ernie45 = Architecture(
    ggufName: "ernie4_5", modelTypes: ["ernie4_5"], className: "Ernie4_5ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: llama.modelNames, layerNames: llama.layerNames,
    defaults: ["head_dim": 128, "rope_theta": 500_000], hyperparameters: [],
    traits: RuntimeTraits(biases: [], limits: [ConfigLimit("use_bias", only: [false])]))
}
