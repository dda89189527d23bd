internal import Bytes

extension Architecture {
  /// Nomic's BERT without experts: rotary embeddings, and a gate in the feed-forward network.
  static let nomicBERT = Architecture(
    ggufName: "nomic-bert", modelTypes: ["nomic_bert"], className: "NomicBertModel",
    interleavesRotaryRows: false,
    modelNames: [
      ("embeddings.word_embeddings", "token_embd"),
      ("embeddings.token_type_embeddings", "token_types"), ("emb_ln", "token_embd_norm"),
    ],
    layerNames: [
      ("attn.Wqkv", "attn_qkv"), ("attn.out_proj", "attn_output"), ("norm1", "attn_output_norm"),
      ("mlp.fc11", "ffn_up"), ("mlp.fc12", "ffn_gate"), ("mlp.fc2", "ffn_down"),
      ("norm2", "layer_output_norm"),
    ],
    // The real models were trained for fewer positions than their configs state.
    defaults: [
      "type_vocab_size": 2, "layer_norm_eps": .number(1e-12), "rope_theta": 1000,
      "max_trained_positions": 2048,
    ], normEpsilon: ("layer_norm_eps", RuntimeTraits.layerNormEpsilon), hyperparameters: [],
    traits: RuntimeTraits(
      biases: norms, requiredBiases: norms, ropeScalings: [], headsFillWidth: true,
      limits: [
        ConfigLimit("activation_function", only: ["swiglu"]),
        ConfigLimit("moe_every_n_layers", only: [0]), ConfigLimit("prenorm", only: [false]),
        ConfigLimit("causal", only: [false]), ConfigLimit("use_rms_norm", only: [false]),
        ConfigLimit("qkv_proj_bias", only: [false]), ConfigLimit("mlp_fc1_bias", only: [false]),
        ConfigLimit("mlp_fc2_bias", only: [false]),
        ConfigLimit("rotary_emb_fraction", only: [1]),
        ConfigLimit("rotary_emb_interleaved", only: [false]),
        ConfigLimit("rotary_emb_scale_base", only: []),
      ]),
    encoder: EncoderTraits(
      layerPath: "encoder.layers.", outerWords: ["bert", "nomic_bert"],
      unusedNames: ["embeddings.position_ids", "pooler.", "cls."],
      keys: [
        ("n_layer", "num_hidden_layers"), ("n_head", "num_attention_heads"),
        ("n_embd", "hidden_size"), ("n_inner", "intermediate_size"),
        ("n_positions", "max_position_embeddings"), ("layer_norm_epsilon", "layer_norm_eps"),
        ("rotary_emb_base", "rope_theta"),
      ], readsUsualKeys: true))

  private static let norms: Set<String> = [
    "token_embd_norm", "attn_output_norm", "layer_output_norm",
  ]
}
