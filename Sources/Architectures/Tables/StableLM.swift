internal import Bytes

extension Architecture {
  /// StableLM 3B and StableLM 2 1.6B, with norms that have a bias.
  static let stableLM = Architecture(
    ggufName: "stablelm", modelTypes: ["stablelm"], className: "StableLmForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.feedForward + CommonNames.normsBefore,
    needsHead: true, defaults: ["partial_rotary_factor": .number(0.25)],
    normEpsilon: ("layer_norm_eps", RuntimeTraits.layerNormEpsilon),
    flags: [("use_parallel_residual", "use_parallel_residual")],
    hyperparameters: [.rotatedCount],
    traits: RuntimeTraits(
      biases: norms.union(RuntimeTraits.attentionInputs), requiredBiases: norms,
      biasKeys: [("use_qkv_bias", RuntimeTraits.attentionInputs)], rotatesPartly: true,
      headsFillWidth: true,
      limits: [
        ConfigLimit("use_parallel_residual", only: [false]),
        ConfigLimit("qk_layernorm", only: [false]),
      ]))

  private static let norms: Set<String> = ["attn_norm", "ffn_norm", "output_norm"]
}
