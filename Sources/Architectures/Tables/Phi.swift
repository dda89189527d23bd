internal import Bytes

extension Architecture {
  /// Phi 1, 1.5 and 2, with attention and the feed-forward network side by side.
  static let phi = Architecture(
    ggufName: "phi2", modelTypes: ["phi"], className: "PhiForCausalLM",
    interleavesRotaryRows: false,
    modelNames: [
      ("model.embed_tokens", "token_embd"), ("model.final_layernorm", "output_norm"),
    ] + CommonNames.head,
    layerNames: [
      ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"),
      ("self_attn.v_proj", "attn_v"), ("self_attn.dense", "attn_output"),
      ("mlp.fc1", "ffn_up"), ("mlp.fc2", "ffn_down"), ("input_layernorm", "attn_norm"),
    ], needsHead: true, defaults: ["partial_rotary_factor": .number(0.5)],
    normEpsilon: ("layer_norm_eps", RuntimeTraits.layerNormEpsilon),
    hyperparameters: [.rotatedCount],
    traits: RuntimeTraits(
      activation: .usualGelu, biases: biases, requiredBiases: biases, rotatesPartly: true,
      headsFillWidth: true, limits: [ConfigLimit("qk_layernorm", only: [false])]))

  private static let biases = RuntimeTraits.attention.union([
    "ffn_up", "ffn_down", "attn_norm", "output_norm", "output",
  ])
}
