internal import Bytes

extension Architecture {
  /// HunYuan without experts, with norms of queries and keys after their rotation.
  static let hunYuanDense = Architecture(
    ggufName: "hunyuan-dense", modelTypes: ["hunyuan_v1_dense"],
    className: "HunYuanDenseV1ForCausalLM", interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.feedForward + CommonNames.normsBefore + [
      ("self_attn.query_layernorm", "attn_q_norm"), ("self_attn.key_layernorm", "attn_k_norm"),
    ], hyperparameters: [],
    traits: RuntimeTraits(
      biases: [], biasKeys: [("attention_bias", RuntimeTraits.attention)]))
}
