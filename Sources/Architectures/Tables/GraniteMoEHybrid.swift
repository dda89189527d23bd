internal import Bytes

extension Architecture {
  /// Granite 4 with attention in all layers and without experts, which is Granite with other names.
  static let graniteMoEHybrid = Architecture(
    ggufName: granite.ggufName, modelTypes: ["granitemoehybrid"],
    className: "GraniteMoeHybridForCausalLM",
    interleavesRotaryRows: granite.interleavesRotaryRows, modelNames: granite.modelNames,
    layerNames: CommonNames.attention + CommonNames.normsBefore,
    innerWidthKey: "shared_intermediate_size",
    completeNames: [
      ("shared_mlp.input_linear.weight", ["ffn_gate.weight", "ffn_up.weight"]),
      ("shared_mlp.output_linear.weight", ["ffn_down.weight"]),
    ], defaults: granite.defaults.overridden(by: ["shared_intermediate_size": 1024]),
    multipliers: granite.multipliers,
    hyperparameters: granite.hyperparameters,
    traits: RuntimeTraits(
      biases: RuntimeTraits.attention, biasKeys: [("attention_bias", RuntimeTraits.attention)],
      ropeScalings: granite.traits.ropeScalings,
      limits: [
        ConfigLimit("position_embedding_type", expected: "rope") {
          $0["position_embedding_type"] == "rope"
            ? nil : JSONWriter.text($0["position_embedding_type"] ?? .null)
        }
      ],
      tensorLimits: [
        attentionLayers, ConfigLimit("num_local_experts", only: [0], default: 8),
      ]))

  /// Other layers have states instead of attention, as those of Mamba.
  private static let attentionLayers = ConfigLimit(
    "layer_types", expected: "attention in all layers"
  ) { config in
    let kinds = (config["layer_types"] ?? config["layers_block_type"])?.array
    guard let kinds else { return "nothing, which means no attention" }
    let other = kinds.first { !["attention", "full_attention"].contains($0) }
    return other.map { JSONWriter.text($0) }
  }
}
