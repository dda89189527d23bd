internal import Bytes

extension Architecture {
  /// ModernBERT, with rotary embeddings, norms before, and sliding attention in most layers.
  static let modernBERT = Architecture(
    ggufName: "modern-bert", modelTypes: ["modernbert"], className: "ModernBertModel",
    interleavesRotaryRows: false,
    modelNames: [
      ("model.embeddings.tok_embeddings", "token_embd"),
      ("model.embeddings.norm", "token_embd_norm"), ("model.final_norm", "output_norm"),
    ],
    layerNames: [
      ("attn.Wqkv", "attn_qkv"), ("attn.Wo", "attn_output"), ("mlp_norm", "ffn_norm"),
      ("mlp.Wi", "ffn_up"), ("mlp.Wo", "ffn_down"),
    ], laterNames: [("attn_norm", "attn_norm")],
    defaults: [
      "norm_eps": .number(1e-5), "rope_theta": 160_000, "rope_local_base_freq": 10_000,
      "sliding_window": 128,
    ], normEpsilon: ("norm_eps", RuntimeTraits.layerNormEpsilon),
    hyperparameters: [
      .slidingWindow, .slidingLayers, .noRopeScaling, .vocabularySize, .activation,
    ],
    traits: RuntimeTraits(
      biases: [], ropeScalings: [], headsFillWidth: true,
      sliding: .alternatingAfterFirst(period: 3),
      limits: [
        ConfigLimit("hidden_activation", only: ["gelu", "silu"]),
        ConfigLimit("attention_bias", only: [false]), ConfigLimit("mlp_bias", only: [false]),
        ConfigLimit("norm_bias", only: [false]),
        ConfigLimit("local_rope_theta", expected: "a number") {
          $0["local_rope_theta"] == .null ? "null" : nil
        },
      ]),
    encoder: EncoderTraits(
      layerPath: "model.layers.", path: "model.", unusedNames: ["head.", "decoder."],
      countsTokenTypes: false,
      keys: [
        ("local_attention", "sliding_window"), ("global_rope_theta", "rope_theta"),
        ("local_rope_theta", "rope_local_base_freq"),
      ], leadingCount: 1))
}
