internal import Bytes

extension Architecture {
  /// InternLM 3, which is the same as Llama except for its `model_type` and the keys for biases.
  static let internLM3 = Architecture(
    ggufName: llama.ggufName, modelTypes: ["internlm3"], className: "LlamaForCausalLM",
    interleavesRotaryRows: llama.interleavesRotaryRows, modelNames: llama.modelNames,
    layerNames: llama.layerNames, defaults: ["head_dim": 128],
    hyperparameters: llama.hyperparameters,
    traits: RuntimeTraits(
      biases: llama.traits.biases,
      biasKeys: llama.traits.biasKeys + [
        ("qkv_bias", RuntimeTraits.attentionInputs),
        ("bias", RuntimeTraits.feedForward.union(["attn_output"])),
      ], ropeScalings: llama.traits.ropeScalings))
}
