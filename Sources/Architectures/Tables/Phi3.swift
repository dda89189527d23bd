internal import Bytes

extension Architecture {
  /// Phi 3 and 4, with one matrix for queries, keys and values, and one for gate and up.
  static let phi3 = Architecture(
    ggufName: "phi3", modelTypes: ["phi3"], className: "Phi3ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.normsBefore + [
      ("self_attn.qkv_proj", "attn_qkv"),
      ("self_attn.o_proj", "attn_output"),
      ("mlp.gate_up_proj", "ffn_up"),
      ("mlp.down_proj", "ffn_down"),
    ],
    defaults: ["original_max_position_embeddings": 4096],
    // Phi 4 has no sliding window; llama.cpp needs a window of 0 for it.
    hyperparameters: [
      .originalContextLength, .rotatedCount, .slidingWindowOrZero, .ropeAttentionFactor,
    ],
    traits: RuntimeTraits(
      biases: ["attn_qkv"], ropeScalings: [.longrope], rotatesPartly: true, headsFillWidth: true,
      sliding: .ignored(defaultWindow: nil)))
}
