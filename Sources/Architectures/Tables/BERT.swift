internal import Bytes

extension Architecture {
  /// BERT, with learned positions, and norms after attention and the feed-forward network.
  static let bert = Architecture(
    ggufName: "bert", modelTypes: ["bert"], className: "BertModel", interleavesRotaryRows: false,
    modelNames: [
      ("embeddings.word_embeddings", "token_embd"),
      ("embeddings.token_type_embeddings", "token_types"),
      ("embeddings.position_embeddings", "position_embd"),
      ("embeddings.LayerNorm", "token_embd_norm"),
    ],
    layerNames: [
      ("attention.self.query", "attn_q"), ("attention.self.key", "attn_k"),
      ("attention.self.value", "attn_v"), ("attention.output.dense", "attn_output"),
      ("attention.output.LayerNorm", "attn_output_norm"), ("intermediate.dense", "ffn_up"),
      ("output.dense", "ffn_down"), ("output.LayerNorm", "layer_output_norm"),
    ], defaults: ["type_vocab_size": 2, "layer_norm_eps": .number(1e-12)],
    normEpsilon: ("layer_norm_eps", RuntimeTraits.layerNormEpsilon), hyperparameters: [],
    traits: RuntimeTraits(
      activation: .exactGelu(key: "hidden_act"), biases: biases, requiredBiases: biases,
      ropeScalings: [], headsFillWidth: true,
      limits: [
        ConfigLimit("position_embedding_type", only: ["absolute"]),
        ConfigLimit("is_decoder", only: [false]),
      ]),
    encoder: EncoderTraits(
      outerWords: ["bert"], unusedNames: ["embeddings.position_ids", "pooler.", "cls."],
      hasPooler: true))

  private static let biases = RuntimeTraits.attention.union([
    "ffn_up", "ffn_down", "token_embd_norm", "attn_output_norm", "layer_output_norm",
  ])
}
