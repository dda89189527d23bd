internal import Bytes

extension Architecture {
  /// Granite, which is Llama with four numbers to scale by.
  static let granite = Architecture(
    ggufName: "granite", modelTypes: ["granite"], className: "GraniteForCausalLM",
    interleavesRotaryRows: llama.interleavesRotaryRows, modelNames: llama.modelNames,
    layerNames: llama.layerNames,
    defaults: [
      "attention_multiplier": 1, "embedding_multiplier": 1, "residual_multiplier": 1,
      "logits_scaling": 1,
    ],
    multipliers: [
      ("attention_multiplier", "attention.scale"), ("embedding_multiplier", "embedding_scale"),
      ("residual_multiplier", "residual_scale"), ("logits_scaling", "logit_scale"),
    ], hyperparameters: llama.hyperparameters, traits: llama.traits)
}
