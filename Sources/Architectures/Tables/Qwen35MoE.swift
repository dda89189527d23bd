internal import Bytes

extension Architecture {
  /// The text model of Qwen 3.5 and 3.6 with experts, one of which all tokens use.
  static let qwen35MoE = hybridQwen(
    "qwen35moe", ["qwen3_5_moe_text", "qwen3_5_moe"], className: "Qwen3_5MoeForCausalLM",
    experts: qwenExperts, feedForward: CommonNames.router + CommonNames.sharedExpert,
    projections: separateProjections, arrangements: separateArrangements,
    returns: separateReturns + TensorReturn.stacks,
    hyperparameters: [.ropeSectionsOfQwen] + expertKeys)
}
