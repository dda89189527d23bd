internal import TensorModel

extension Architecture {
  /// Granite with experts in all layers.
  static let graniteMoE = Architecture(
    ggufName: "granitemoe", modelTypes: ["granitemoe"], className: "GraniteMoeForCausalLM",
    interleavesRotaryRows: granite.interleavesRotaryRows, modelNames: granite.modelNames,
    layerNames: CommonNames.attention + CommonNames.normsBefore + [
      ("block_sparse_moe.router.layer", "ffn_gate_inp")
    ], experts: ExpertKeys(),
    completeNames: [
      (
        "block_sparse_moe.input_linear.weight",
        ["ffn_gate_exps.weight", "ffn_up_exps.weight"]
      ),
      ("block_sparse_moe.output_linear.weight", ["ffn_down_exps.weight"]),
    ],
    otherNames: [
      ("block_sparse_moe.experts.gate_up_proj", "block_sparse_moe.input_linear.weight"),
      ("block_sparse_moe.experts.down_proj", "block_sparse_moe.output_linear.weight"),
      ("block_sparse_moe.router.weight", "block_sparse_moe.router.layer.weight"),
    ],
    returns: [
      TensorReturn(
        "block_sparse_moe.input_linear.weight", of: ["ffn_gate_exps.weight", "ffn_up_exps.weight"]
      ) { parts, _ in .joiningMatrices(parts) },
      TensorReturn("block_sparse_moe.output_linear.weight", of: ["ffn_down_exps.weight"]) {
        parts, _ in parts[0].reshaped(parts[0].shape.dimensions)
      },
    ], defaults: granite.defaults, multipliers: granite.multipliers,
    hyperparameters: granite.hyperparameters + [.expertCount, .usedExpertCount],
    traits: RuntimeTraits(
      biases: RuntimeTraits.attention, biasKeys: [("attention_bias", RuntimeTraits.attention)],
      ropeScalings: granite.traits.ropeScalings))
}
