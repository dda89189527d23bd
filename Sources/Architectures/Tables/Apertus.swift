internal import Bytes

extension Architecture {
  /// Apertus, with an activation that has numbers of its own in each layer, and without a gate.
  static let apertus = Architecture(
    ggufName: "apertus", modelTypes: ["apertus"], className: "ApertusForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.attentionNorms + CommonNames.plainFeedForward
      + [("attention_layernorm", "attn_norm"), ("feedforward_layernorm", "ffn_norm")],
    layerNumbers: [
      ("mlp.act_fn.alpha_p", "xielu.alpha_p", 1), ("mlp.act_fn.alpha_n", "xielu.alpha_n", 1),
      ("mlp.act_fn.beta", "xielu.beta", 0), ("mlp.act_fn.eps", "xielu.eps", 0),
    ], needsHead: true,
    defaults: [
      "rope_theta": 12_000_000,
      "rope_parameters": [
        "rope_type": "llama3", "rope_theta": 12_000_000, "factor": 8,
        "original_max_position_embeddings": 8192, "low_freq_factor": 1, "high_freq_factor": 4,
      ],
    ],
    hyperparameters: llama.hyperparameters,
    traits: RuntimeTraits(
      activation: .xIELU, biases: RuntimeTraits.attention,
      biasKeys: [("attention_bias", RuntimeTraits.attention)],
      ropeScalings: llama.traits.ropeScalings,
      limits: [
        ConfigLimit("qk_norm", only: [true]), ConfigLimit("post_norm", only: [false]),
        ConfigLimit("mlp_bias", only: [false]),
      ]))
}
