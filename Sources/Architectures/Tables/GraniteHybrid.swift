internal import Bytes
internal import TensorModel

/// Granite 4 with states in some layers, for which llama.cpp has another architecture.
extension Architecture {
  private static func hasStates(_ config: JSONValue) -> Bool {
    let kinds = (config["layer_types"] ?? config["layers_block_type"])?.array
    return kinds?.contains { ["mamba", "linear_attention"].contains($0) } ?? false
  }

  /// Granite 4 with states in most layers, and attention without rotation in the others.
  static let graniteStates = graniteWithStates(
    innerWidthKey: "shared_intermediate_size",
    completeNames: [
      ("shared_mlp.input_linear.weight", ["ffn_gate.weight", "ffn_up.weight"]),
      ("shared_mlp.output_linear.weight", ["ffn_down.weight"]),
    ],
    returns: [
      joined("shared_mlp.input_linear.weight", of: "ffn_gate.weight", "ffn_up.weight"),
      joined("shared_mlp.output_linear.weight", of: "ffn_down.weight"),
    ], hyperparameters: [.noExperts],
    isMeant: { hasStates($0) && $0["num_local_experts"]?.int == 0 })
  /// The same with experts in all layers.
  static let graniteStatesAndExperts = graniteWithStates(
    experts: ExpertKeys(
      counts: ["num_local_experts"], sharedWidth: "shared_intermediate_size"),
    router: [("block_sparse_moe.router.layer", "ffn_gate_inp")],
    completeNames: graniteMoEShared.completeNames,
    returns: graniteMoE.returns + sharedReturns,
    hyperparameters: [.expertCount, .usedExpertCount, .sharedExpertWidth],
    isMeant: { hasStates($0) && $0["num_local_experts"]?.int != 0 })

  private static let graniteKeys = StateSpaceKeys()

  /// The rows of matrices one after the other.
  static func joined(_ name: String, of parts: String...) -> TensorReturn {
    TensorReturn(name, of: parts) { parts, _ in
      guard parts.count > 1 else { return parts[0].reshaped(parts[0].shape.dimensions) }
      let rowCount = parts.reduce(0) { $0 + $1.shape.rowCount }
      return .joiningRows(
        of: parts, [rowCount, parts[0].shape.columnCount],
        rows: [RowSelection(count: parts[0].shape.rowCount)]
          + [RowSelection(from: parts[0].shape.rowCount, count: parts[1].shape.rowCount)])
    }
  }

  private static func graniteWithStates(
    innerWidthKey: String = "intermediate_size", experts: ExpertKeys? = nil,
    router: [NamePair] = [], completeNames: [(huggingFace: String, gguf: [String])],
    returns: [TensorReturn], hyperparameters: [Hyperparameters.Key],
    isMeant: @escaping @Sendable (JSONValue) -> Bool
  ) -> Architecture {
    Architecture(
      ggufName: "granitehybrid", modelTypes: graniteMoEHybrid.modelTypes,
      className: graniteMoEHybrid.className,
      interleavesRotaryRows: granite.interleavesRotaryRows, modelNames: granite.modelNames,
      layerNames: CommonNames.normsBefore + router, innerWidthKey: innerWidthKey, experts: experts,
      kindNames: [
        .recurrent: stateSpaceNames(), .attention: LayerNames(names: CommonNames.attention),
      ],
      layerKinds: [
        ("mamba", .recurrent), ("linear_attention", .recurrent), ("attention", .attention),
        ("full_attention", .attention),
      ],
      derivedValues: { config in
        guard config["layer_types"] == nil, let kinds = config["layers_block_type"] else {
          return config
        }
        return config.setting("layer_types", to: kinds)
      },
      stateSpace: graniteKeys, hasUnlimitedContext: true, listsKeyValueHeads: true,
      completeNames: completeNames, arrangements: stateSpaceArrangements(graniteKeys),
      returns: stateSpaceReturns(graniteKeys) + returns,
      defaults: granite.defaults.overridden(by: [
        "shared_intermediate_size": 1024, "num_local_experts": 8, "num_experts_per_tok": 2,
        "mamba_n_heads": 128, "mamba_n_groups": 1, "mamba_d_state": 256, "mamba_d_conv": 4,
        "mamba_expand": 2,
      ]),
      multipliers: granite.multipliers,
      hyperparameters: granite.hyperparameters + hyperparameters + [.stateSpace, .noRotation],
      traits: RuntimeTraits(
        biases: RuntimeTraits.attention.union(stateSpaceBiases),
        requiredBiases: stateSpaceBiases,
        biasKeys: [("attention_bias", RuntimeTraits.attention)],
        ropeScalings: granite.traits.ropeScalings,
        limits: stateSpaceLimits(
          kernel: "mamba_d_conv", convolutionBias: "mamba_conv_bias", others: ["mamba_proj_bias"])
          + [
            ConfigLimit("mamba_expand", only: [2]),
            ConfigLimit("position_embedding_type", expected: "none") {
              $0["position_embedding_type"] == "rope" ? "rope" : nil
            },
          ]), isMeant: isMeant)
  }
}
