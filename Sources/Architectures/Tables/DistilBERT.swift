internal import Bytes

extension Architecture {
  /// DistilBERT, which is BERT without token types.
  static let distilBERT = Architecture(
    ggufName: bert.ggufName, modelTypes: ["distilbert"], className: "DistilBertModel",
    interleavesRotaryRows: false,
    modelNames: bert.modelNames.filter { $0.gguf != "token_types" },
    layerNames: [
      ("attention.q_lin", "attn_q"), ("attention.k_lin", "attn_k"),
      ("attention.v_lin", "attn_v"), ("attention.out_lin", "attn_output"),
      ("sa_layer_norm", "attn_output_norm"), ("ffn.lin1", "ffn_up"), ("ffn.lin2", "ffn_down"),
      ("output_layer_norm", "layer_output_norm"),
    ],
    // Transformers has this number in the code of the model, whatever a config states.
    derivedValues: { $0.setting("layer_norm_eps", to: .number(1e-12)) },
    normEpsilon: bert.normEpsilon,
    hyperparameters: bert.hyperparameters,
    traits: RuntimeTraits(
      activation: .exactGelu(key: "activation"), biases: bert.traits.biases,
      requiredBiases: bert.traits.requiredBiases, ropeScalings: [], headsFillWidth: true),
    encoder: EncoderTraits(
      layerPath: "transformer.layer.", outerWords: ["distilbert"],
      unusedNames: ["embeddings.position_ids", "vocab_"],
      keys: [
        ("n_layers", "num_hidden_layers"), ("n_heads", "num_attention_heads"),
        ("dim", "hidden_size"), ("hidden_dim", "intermediate_size"),
      ]))
}
