internal import Bytes

extension Architecture {
  /// Command R7B and A, with sliding attention in most layers, and rotary embeddings in these only.
  static let cohere2 = Architecture(
    ggufName: "cohere2", modelTypes: ["cohere2"], className: "Cohere2ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: cohere.modelNames, layerNames: cohere.layerNames, leavesOutHead: true,
    defaults: [
      "sliding_window": 4096, "logit_scale": .number(0.0625),
    ], normEpsilon: cohere.normEpsilon, multipliers: cohere.multipliers,
    hyperparameters: [
      .slidingWindow, .slidingLayers, .vocabularySize, .rotatedCount, .noRopeScaling,
    ], traits: cohere.traits.sliding(.alternating(period: 4)))
}
