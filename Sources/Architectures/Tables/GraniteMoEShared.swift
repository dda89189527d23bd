extension Architecture {
  /// Granite with experts in all layers, and with a feed-forward network that all tokens use.
  static let graniteMoEShared = Architecture(
    ggufName: graniteMoE.ggufName, modelTypes: ["granitemoeshared"],
    className: "GraniteMoeSharedForCausalLM",
    interleavesRotaryRows: graniteMoE.interleavesRotaryRows, modelNames: graniteMoE.modelNames,
    layerNames: graniteMoE.layerNames,
    experts: ExpertKeys(sharedWidth: "shared_intermediate_size"),
    completeNames: graniteMoE.completeNames + [
      ("shared_mlp.input_linear.weight", ["ffn_gate_shexp.weight", "ffn_up_shexp.weight"]),
      ("shared_mlp.output_linear.weight", ["ffn_down_shexp.weight"]),
    ], otherNames: graniteMoE.otherNames,
    returns: graniteMoE.returns + sharedReturns, defaults: graniteMoE.defaults,
    multipliers: graniteMoE.multipliers,
    hyperparameters: graniteMoE.hyperparameters + [.sharedExpertWidth],
    traits: graniteMoE.traits)

  /// The network that all tokens use, whose gate transformers has in one matrix with the other.
  static let sharedReturns = [
    joined("shared_mlp.input_linear.weight", of: "ffn_gate_shexp.weight", "ffn_up_shexp.weight"),
    joined("shared_mlp.output_linear.weight", of: "ffn_down_shexp.weight"),
  ]
}
