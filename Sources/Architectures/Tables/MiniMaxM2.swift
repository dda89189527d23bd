internal import Bytes

extension Architecture {
  /// MiniMax M2, with experts in all layers.
  static let miniMaxM2 = Architecture(
    ggufName: "minimax-m2", modelTypes: ["minimax_m2"], className: "MiniMaxM2ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.attentionNorms + CommonNames.normsBefore
      + [("block_sparse_moe.gate", "ffn_gate_inp")],
    experts: ExpertKeys(width: "intermediate_size"), expertNames: mixtral.expertNames,
    completeNames: [("block_sparse_moe.e_score_correction_bias", ["exp_probs_b.bias"])],
    stackNames: CommonNames.stacks,
    otherNames: mixtral.otherNames + [
      ("mlp.e_score_correction_bias", "block_sparse_moe.e_score_correction_bias")
    ],
    needsHead: true, defaults: ["rope_theta": 5_000_000], normsAllHeads: true,
    hyperparameters: [
      .expertCount, .usedExpertCount, .expertWidth, .rotatedCount, .sigmoidRouter,
    ],
    traits: RuntimeTraits(
      biases: [], rotatesPartly: true,
      limits: [ConfigLimit("scoring_func", only: ["sigmoid"])]))
}
