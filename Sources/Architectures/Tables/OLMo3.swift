internal import Bytes

extension Architecture {
  /// OLMo 3, which is OLMo 2 with sliding attention in most layers.
  static let olmo3 = Architecture(
    ggufName: olmo2.ggufName, modelTypes: ["olmo3"], className: "Olmo3ForCausalLM",
    interleavesRotaryRows: olmo2.interleavesRotaryRows, modelNames: olmo2.modelNames,
    layerNames: olmo2.layerNames, needsHead: olmo2.needsHead,
    defaults: ["sliding_window": 4096, "rope_theta": 500_000],
    normsAllHeads: olmo2.normsAllHeads,
    hyperparameters: [.slidingWindow, .everySlidingLayer, .slidingBase],
    traits: olmo2.traits.sliding(.alternating(period: 4)))
}
