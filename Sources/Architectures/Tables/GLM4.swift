internal import Bytes

extension Architecture {
  /// GLM 4 of 2025 (0414) and later, without experts.
  static let glm4 = Architecture(
    ggufName: "glm4", modelTypes: ["glm4"], className: "Glm4ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + [
      ("mlp.gate_up_proj", "ffn_up"),
      ("mlp.down_proj", "ffn_down"),
      ("input_layernorm", "attn_norm"),
      ("post_self_attn_layernorm", "post_attention_norm"),
      ("post_attention_layernorm", "ffn_norm"),
      ("post_mlp_layernorm", "post_ffw_norm"),
    ], specialTokens: [("eot", "<|user|>")],
    defaults: ["head_dim": 128, "partial_rotary_factor": .number(0.5)],
    hyperparameters: [.rotatedCount],
    traits: RuntimeTraits(
      biasKeys: [("attention_bias", RuntimeTraits.attentionInputs)], rotatesPartly: true))
}
