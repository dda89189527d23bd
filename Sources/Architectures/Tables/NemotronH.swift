internal import Bytes

extension Architecture {
  /// Nemotron H: each layer has states, attention without rotation, or a feed-forward network.
  static let nemotronH = hybridNemotron(
    "nemotron_h",
    network: (
      "mlp", .feedForward,
      LayerNames(names: [("mixer.up_proj", "ffn_up"), ("mixer.down_proj", "ffn_down")])
    ))

  private static let nemotronKeys = StateSpaceKeys(
    path: "mixer", headCount: "mamba_num_heads", headSize: "mamba_head_dim",
    groupCount: "n_groups", stateSize: "ssm_state_size", kernelSize: "conv_kernel")

  private static let nemotronAttention: [NamePair] = [
    ("mixer.q_proj", "attn_q"), ("mixer.k_proj", "attn_k"), ("mixer.v_proj", "attn_v"),
    ("mixer.o_proj", "attn_output"),
  ]

  /// The architecture with one kind of layers besides those with states and attention.
  ///
  /// - Parameters:
  ///   - ggufName: Its name in llama.cpp.
  ///   - network: The word for that kind in a config, the kind, and its tensors.
  ///   - experts: The keys for experts; nil without them.
  ///   - expertNames: The tensors of each expert.
  ///   - stackNames: The stacks of experts.
  ///   - defaults: The defaults of the keys for experts.
  ///   - multipliers: The numbers that llama.cpp reads for experts.
  ///   - flags: The flags that it reads for experts.
  ///   - hyperparameters: What it reads for experts besides.
  ///   - isMeant: Whether a config means this architecture; nil for the usual one.
  /// - Returns: The architecture.
  static func hybridNemotron(
    _ ggufName: String, network: (word: String, kind: LayerKind, names: LayerNames),
    experts: ExpertKeys? = nil, expertNames: [NamePair] = [],
    stackNames: [(huggingFace: String, gguf: [String])] = [], defaults: JSONValue = [:],
    multipliers: [(key: String, ggufKey: String)] = [],
    flags: [(key: String, ggufKey: String)] = [], hyperparameters: [Hyperparameters.Key] = [],
    isMeant: (@Sendable (JSONValue) -> Bool)? = nil
  ) -> Architecture {
    Architecture(
      ggufName: ggufName, modelTypes: ["nemotron_h"], className: "NemotronHForCausalLM",
      interleavesRotaryRows: true,
      modelNames: [("model.embeddings", "token_embd"), ("model.norm_f", "output_norm")]
        + CommonNames.head,
      layerNames: [("norm", "attn_norm")], experts: experts, expertNames: expertNames,
      kindNames: [
        .recurrent: stateSpaceNames("mixer"), .attention: LayerNames(names: nemotronAttention),
        network.kind: network.names,
      ],
      layerKinds: [
        ("linear_attention", .recurrent), ("mamba", .recurrent), ("full_attention", .attention),
        ("attention", .attention), (network.word, network.kind),
      ],
      derivedValues: { listingKinds($0) }, stateSpace: nemotronKeys, hasUnlimitedContext: true,
      outerWords: ["backbone"], listsKeyValueHeads: true, stackNames: stackNames,
      arrangements: stateSpaceArrangements(nemotronKeys),
      returns: stateSpaceReturns(nemotronKeys), leftOut: ["mtp."],
      defaults: defaults.overridden(by: [
        "mamba_num_heads": 128, "mamba_head_dim": 64, "n_groups": 8, "ssm_state_size": 128,
        "conv_kernel": 4, "layer_norm_epsilon": .number(1e-5), "head_dim": 128,
      ]),
      runtimeValues: { _ in ["time_step_min": .number(0)] },
      normEpsilon: (key: "layer_norm_epsilon", ggufKey: RuntimeTraits.layerNormEpsilon),
      multipliers: multipliers, flags: flags,
      hyperparameters: [.vocabularySize, .stateSpace, .noRotation] + hyperparameters,
      traits: RuntimeTraits(
        activation: .init(key: "mlp_hidden_act", name: "relu2", synonyms: []),
        biases: stateSpaceBiases, requiredBiases: stateSpaceBiases, ropeScalings: [],
        limits: stateSpaceLimits(
          kernel: "conv_kernel", convolutionBias: "use_conv_bias",
          others: ["use_bias", "mlp_bias", "attention_bias", "mamba_proj_bias"])
          + [
            ConfigLimit("n_group", only: [1]), ConfigLimit("topk_group", only: [1]),
            ConfigLimit("mamba_hidden_act", only: ["silu"]),
          ],
        tensorLimits: [ConfigLimit("moe_latent_size", only: [])], note: { leastStep($0) }),
      isMeant: isMeant)
  }

  /// A note about the shortest time step, which only transformers limits.
  private static func leastStep(_ config: JSONValue) -> String? {
    let step = config["time_step_min"]?.double ?? 0.001
    return step > 0
      ? "transformers makes time steps at least time_step_min \(step) long; other programs do not"
      : nil
  }

  /// A config that lists the kind of each layer, also if it states a letter for each.
  static func listingKinds(_ config: JSONValue) -> JSONValue {
    let letters: [Character: JSONValue] = [
      "M": "linear_attention", "*": "full_attention", "-": "mlp", "E": "moe",
    ]
    let pattern = config["hybrid_override_pattern"]?.string
    let kinds =
      (config["layers_block_type"] ?? config["layer_types"])?.array
      ?? pattern.map { $0.map { letters[$0] ?? .string(String($0)) } }
    guard let kinds else { return config }
    return config.setting("layer_types", to: .array(kinds))
      .setting("num_hidden_layers", to: JSONValue(kinds.count))
  }
}
