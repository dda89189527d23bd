internal import Bytes
internal import TensorModel

extension Architecture {
  /// LFM2: short convolutions instead of attention in most layers.
  static let lfm2 = shortConvolutions(
    "lfm2", ["lfm2"], className: "Lfm2ForCausalLM", layerNames: gatedFeedForward,
    defaults: [
      "block_auto_adjust_ff_dim": true, "block_ffn_dim_multiplier": 1, "block_multiple_of": 256,
    ], runtimeValues: { _ in ["block_auto_adjust_ff_dim": false] },
    derivedValues: { listingAttention(adjustingWidth($0)) })

  /// The feed-forward network, whose matrices LFM2 numbers.
  static let gatedFeedForward: [NamePair] = [
    ("feed_forward.w1", "ffn_gate"), ("feed_forward.w3", "ffn_up"), ("feed_forward.w2", "ffn_down"),
  ]

  static func shortConvolutions(
    _ ggufName: String, _ modelTypes: [String], className: String, experts: ExpertKeys? = nil,
    layerNames: [NamePair] = [], expertNames: [NamePair] = [], leadingNames: [NamePair] = [],
    laterNames: [NamePair] = [], defaults: JSONValue,
    runtimeValues: @escaping @Sendable (Hyperparameters) -> JSONValue = { _ in [:] },
    derivedValues: @escaping @Sendable (JSONValue) -> JSONValue,
    completeNames: [(huggingFace: String, gguf: [String])] = [],
    stackNames: [(huggingFace: String, gguf: [String])] = [],
    hyperparameters: [Hyperparameters.Key] = [], limits: [ConfigLimit] = [],
    tensorLimits: [ConfigLimit] = []
  ) -> Architecture {
    Architecture(
      ggufName: ggufName, modelTypes: modelTypes, className: className,
      interleavesRotaryRows: false,
      modelNames: [
        ("model.embed_tokens", "token_embd"), ("model.embedding_norm", "token_embd_norm"),
      ] + CommonNames.head,
      layerNames: [("operator_norm", "attn_norm"), ("ffn_norm", "ffn_norm")] + layerNames,
      experts: experts, expertNames: expertNames, leadingNames: leadingNames,
      laterNames: laterNames,
      kindNames: [
        .recurrent: LayerNames(names: [
          ("conv.conv", "shortconv.conv"), ("conv.in_proj", "shortconv.in_proj"),
          ("conv.out_proj", "shortconv.out_proj"),
        ]),
        .attention: LayerNames(names: [
          ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"),
          ("self_attn.v_proj", "attn_v"), ("self_attn.out_proj", "attn_output"),
          ("self_attn.q_layernorm", "attn_q_norm"), ("self_attn.k_layernorm", "attn_k_norm"),
        ]),
      ],
      layerKinds: [("conv", .recurrent), ("full_attention", .attention)],
      derivedValues: derivedValues, listsKeyValueHeads: true, completeNames: completeNames,
      stackNames: stackNames,
      arrangements: [
        TensorArrangement(name: "conv.conv.weight") { tensor, values throws(ModelError) in
          // Each channel has a row of its own.
          squeezed(
            tensor, channelCount: try values.extent("hidden_size"),
            kernelSize: try values.extent("conv_L_cache"), named: "conv.conv.weight"
          ).map { [$0] }
        }
      ],
      returns: [
        TensorReturn("conv.conv.weight", of: ["shortconv.conv.weight"]) {
          parts, values throws(ModelError) in
          let extents = [try values.extent("hidden_size"), 1, try values.extent("conv_L_cache")]
          return parts[0].reshaped(extents)
        }
      ],
      defaults: defaults.overridden(by: [
        "rope_theta": 1_000_000, "conv_bias": false, "conv_L_cache": 3,
      ]), runtimeValues: runtimeValues,
      normEpsilon: (key: "norm_eps", ggufKey: "attention.layer_norm_rms_epsilon"),
      hyperparameters: hyperparameters + [.vocabularySize, .shortConvolution],
      traits: RuntimeTraits(
        biases: [],
        biasKeys: [("conv_bias", ["shortconv.conv", "shortconv.in_proj", "shortconv.out_proj"])],
        headsFillWidth: true,
        limits: limits + [
          ConfigLimit("is_causal", only: [true]),
          ConfigLimit("conv_L_cache", expected: "more than 1") {
            $0["conv_L_cache"] == 1 ? "1" : nil
          },
        ],
        tensorLimits: tensorLimits))
  }

  /// A convolution of channels × 1 × positions as a matrix; nil for another shape.
  ///
  /// mlx-lm has channels × positions × 1, which are the same bytes.
  static func squeezed(
    _ tensor: TensorInfo, channelCount: Int, kernelSize: Int, named name: String
  ) -> TensorView? {
    let extents = tensor.shape.dimensions
    let isDivided = extents == [channelCount, kernelSize, 1]
    guard isDivided || extents == [channelCount, 1, kernelSize],
      let shape = Shape(validating: [channelCount, kernelSize])
    else { return nil }
    var view = TensorView(name: name, shape: shape, source: 0)
    view.rows = [RowSelection(count: isDivided ? shape.elementCount : channelCount)]
    view.dividesRows = isDivided
    return view
  }

  /// A config that lists the kind of each layer, also if it states the numbers of those with
  /// attention only, as old ones do.
  static func listingAttention(_ config: JSONValue) -> JSONValue {
    let indices = config["full_attn_idxs"]?.array.map { Set($0.compactMap(\.int)) }
    return config.listingLayers { indices?.contains($0) ?? true ? "full_attention" : "conv" }
  }

  /// A config with the width that the feed-forward network really has.
  ///
  /// Two thirds of what it states, times a factor, and then rounded up to a multiple.
  private static func adjustingWidth(_ config: JSONValue) -> JSONValue {
    guard let stated = config["block_ff_dim"] ?? config["intermediate_size"] else { return config }
    let isAdjusted = config["block_auto_adjust_ff_dim"]?.bool ?? true
    guard isAdjusted, let width = stated.int, 1...Int(UInt32.max) ~= width,
      let multiple = config["block_multiple_of"]?.int, 1...Int(UInt32.max) ~= multiple,
      let factor = config["block_ffn_dim_multiplier"]?.double,
      let product = Int(exactly: (factor * Double(2 * width / 3)).rounded(.towardZero))
    else { return config.setting("intermediate_size", to: stated) }
    let (rest, isTooLarge) = product.addingReportingOverflow(multiple - 1)
    guard !isTooLarge else { return config.setting("intermediate_size", to: stated) }
    return config.setting("intermediate_size", to: JSONValue(rest / multiple * multiple))
  }
}
