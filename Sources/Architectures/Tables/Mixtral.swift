internal import Bytes

extension Architecture {
  /// Mixtral, which is Llama with experts.
  ///
  /// GGUF stacks the matrices of a layer's experts into one tensor.
  static let mixtral = Architecture(
    ggufName: llama.ggufName, modelTypes: ["mixtral"], className: "MixtralForCausalLM",
    interleavesRotaryRows: llama.interleavesRotaryRows, modelNames: llama.modelNames,
    layerNames: CommonNames.attention + CommonNames.normsBefore + [
      ("block_sparse_moe.gate", "ffn_gate_inp")
    ],
    experts: ExpertKeys(counts: ["num_local_experts"]),
    expertNames: [
      ("block_sparse_moe.experts.*.w1", "ffn_gate_exps"),
      ("block_sparse_moe.experts.*.w2", "ffn_down_exps"),
      ("block_sparse_moe.experts.*.w3", "ffn_up_exps"),
    ], stackNames: CommonNames.stacks,
    otherNames: [("mlp.gate.weight", "block_sparse_moe.gate.weight")],
    defaults: ["rope_theta": 1_000_000],
    hyperparameters: llama.hyperparameters + [.expertCount, .usedExpertCount],
    traits: RuntimeTraits(
      ropeScalings: llama.traits.ropeScalings, sliding: .ignored(defaultWindow: nil)))
}
