internal import Bytes

extension Architecture {
  /// The text model of Qwen 3 VL with experts, whose stacks are stored as inputs × outputs.
  static let qwen3VLMoE = Architecture(
    ggufName: "qwen3vlmoe", modelTypes: ["qwen3_vl_moe", "qwen3_vl_moe_text"],
    interleavesRotaryRows: qwen3MoE.interleavesRotaryRows, modelNames: qwen3MoE.modelNames,
    layerNames: qwen3MoE.layerNames, experts: qwen3MoE.experts, expertNames: qwen3MoE.expertNames,
    stackNames: qwenStacks.names, arrangements: qwenStacks.arrangements,
    defaults: ["rope_theta": 500_000],
    hyperparameters: qwen3MoE.hyperparameters + [.ropeSections, .deepstackCount],
    traits: RuntimeTraits(
      biasKeys: qwen3MoE.traits.biasKeys,
      limits: ConfigLimit.expertsInAllLayers + [
        // Transformers always computes this.
        ConfigLimit("norm_topk_prob", only: [true]), .ropeSections,
      ]))

  private static let qwenStacks = ExpertStacks(
    path: "mlp.experts.", width: "moe_intermediate_size", mayBeStraight: true)

  /// What a file of it in GGUF becomes, since transformers has no class with a head for its text model.
  static let qwen3VLMoEText = qwen3MoE.textAlone(
    of: qwen3VLMoE, stating: ["norm_topk_prob": true])
}
