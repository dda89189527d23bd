internal import Bytes

extension Architecture {
  /// Seed-OSS, with biases of queries, keys and values.
  static let seedOSS = Architecture(
    ggufName: "seed_oss", modelTypes: ["seed_oss"], className: "SeedOssForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.feedForward + [
      ("input_layernorm", "attn_norm"),
      // It stands before the feed-forward network, as in llama, but llama.cpp calls it this.
      ("post_attention_layernorm", "post_attention_norm"),
    ], defaults: ["head_dim": 128], hyperparameters: [],
    traits: RuntimeTraits(
      biasKeys: [("attention_bias", RuntimeTraits.attentionInputs)],
      limits: [
        ConfigLimit("attention_out_bias", only: [false]), ConfigLimit("mlp_bias", only: [false]),
      ]))
}
