internal import Bytes

extension Architecture {
  /// Solar Open, which is GLM 4.5 with experts in all layers, and with whole heads rotated.
  static let solarOpen = Architecture(
    ggufName: glm4MoE.ggufName, modelTypes: ["solar_open"], className: "SolarOpenForCausalLM",
    interleavesRotaryRows: glm4MoE.interleavesRotaryRows, modelNames: glm4MoE.modelNames,
    layerNames: glm4MoE.layerNames, experts: glm4MoE.experts, expertNames: glm4MoE.expertNames,
    laterNames: glm4MoE.laterNames, completeNames: glm4MoE.completeNames,
    stackNames: glm4MoE.stackNames,
    specialTokens: [("bos", "<|startoftext|>"), ("eot", "<|endoftext|>")],
    defaults: [
      "head_dim": 128, "rope_theta": 1_000_000, "norm_topk_prob": true,
      // Configs of transformers lack it, because no layer has this width.
      "intermediate_size": 10_240,
    ],
    multipliers: glm4MoE.multipliers, flags: glm4MoE.flags,
    hyperparameters: glm4MoE.hyperparameters.filter { $0 != .predictionLayers },
    traits: RuntimeTraits(
      biasKeys: glm4MoE.traits.biasKeys, rotatesPartly: true,
      limits: glm4MoE.traits.limits + [
        ConfigLimit("first_k_dense_replace", only: [0]), ConfigLimit("use_qk_norm", only: [false]),
      ]))
}
