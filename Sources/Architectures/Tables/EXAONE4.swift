internal import Bytes

extension Architecture {
  /// EXAONE 4, with norms after attention and the feed-forward network.
  static let exaone4 = Architecture(
    ggufName: "exaone4", modelTypes: ["exaone4"], className: "Exaone4ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.attentionNorms + CommonNames.feedForward
      + CommonNames.normsAfter,
    hyperparameters: [.vocabularySize, .slidingWindow, .everySlidingLayer],
    traits: RuntimeTraits(
      ropeScalings: llama.traits.ropeScalings, headsFillWidth: true,
      sliding: .alternating(period: 4), limits: [window]))

  /// llama.cpp has sliding layers in models of 64 layers, and none in others.
  private static let window = ConfigLimit(
    "sliding_window", expected: "a window with 64 layers, else null"
  ) { config in
    let window = config["sliding_window"]
    let slides = (window ?? .null) != .null
    guard window == nil || slides != (config["num_hidden_layers"] == 64) else { return nil }
    return window.map { JSONWriter.text($0) } ?? "nothing, which means 4096"
  }
}
