internal import Bytes
internal import TensorModel

extension Architecture {
  /// The text model of Qwen 3.5 and 3.6: linear attention in most layers.
  static let qwen35 = hybridQwen(
    "qwen35", ["qwen3_5_text", "qwen3_5"], className: "Qwen3_5ForCausalLM",
    feedForward: CommonNames.feedForward, projections: separateProjections,
    arrangements: separateArrangements, returns: separateReturns,
    hyperparameters: [.ropeSectionsOfQwen])

  static let qwenExperts = ExpertKeys(
    width: "moe_intermediate_size", sharedWidth: "shared_expert_intermediate_size")
  static let expertKeys: [Hyperparameters.Key] = [
    .expertCount, .usedExpertCount, .expertWidth, .sharedExpertWidth,
  ]
  static let separateProjections: [NamePair] = [
    ("linear_attn.in_proj_qkv", "attn_qkv"), ("linear_attn.in_proj_z", "attn_gate"),
    ("linear_attn.in_proj_a", "ssm_alpha"), ("linear_attn.in_proj_b", "ssm_beta"),
  ]

  static func hybridQwen(
    _ ggufName: String, _ modelTypes: [String], className: String, experts: ExpertKeys? = nil,
    feedForward: [NamePair], projections: [NamePair], arrangements: [TensorArrangement],
    returns: [TensorReturn], hyperparameters: [Hyperparameters.Key], limits: [ConfigLimit] = []
  ) -> Architecture {
    Architecture(
      ggufName: ggufName, modelTypes: modelTypes, className: className,
      interleavesRotaryRows: false,
      modelNames: CommonNames.ends + CommonNames.head,
      layerNames: [
        ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "post_attention_norm"),
      ] + feedForward,
      addsOneToNorms: true, normsWithoutOne: ["ssm_norm"], experts: experts,
      expertNames: experts == nil ? [] : CommonNames.experts,
      kindNames: [
        .recurrent: LayerNames(
          names: projections + [
            ("linear_attn.conv1d", "ssm_conv1d"), ("linear_attn.norm", "ssm_norm"),
            ("linear_attn.out_proj", "ssm_out"),
          ],
          completeNames: [
            ("linear_attn.A_log", ["ssm_a"]), ("linear_attn.dt_bias", ["ssm_dt.bias"]),
          ]),
        .attention: LayerNames(names: CommonNames.attention + CommonNames.attentionNorms),
      ],
      layerKinds: [("linear_attention", .recurrent), ("full_attention", .attention)],
      derivedValues: { config in
        let stated = config["full_attention_interval"]
        let interval = stated == nil ? LinearAttentionSizes.usualInterval : stated?.int
        guard let interval, interval > 0 else { return config }
        return config.listingLayers {
          ($0 + 1) % interval == 0 ? "full_attention" : "linear_attention"
        }
      },
      predictionPrefix: "mtp.", gatesQueries: true,
      predictionNames: CommonNames.prediction,
      stackNames: experts == nil ? [] : CommonNames.stacks, arrangements: arrangements,
      returns: returns,
      defaults: ["partial_rotary_factor": .number(0.25), "head_dim": 256],
      hyperparameters: hyperparameters + [.linearAttention, .rotatedCount, .predictionLayersIfAny],
      traits: RuntimeTraits(
        biasKeys: [("attention_bias", RuntimeTraits.attention)], rotatesPartly: true,
        limits: limits + [ConfigLimit("attention_bias", only: [false])]))
  }

  // MARK: - Arrangements

  /// Heads of values in the order of llama.cpp: the first one of each head of keys, then the second.
  private static func valueHeads(
    from first: Int = 0, _ sizes: LinearAttentionSizes, rowCount: Int
  ) -> RowSelection {
    let count = sizes.valuesPerKey
    return RowSelection(
      from: first,
      [(count, rowCount), (sizes.keyHeadCount, count * rowCount), (rowCount, 1)])
  }

  /// Queries and keys, then values in the order of llama.cpp.
  private static func channels(_ sizes: LinearAttentionSizes) -> [RowSelection] {
    let keyCount = 2 * sizes.keyRowCount
    return [
      RowSelection(count: keyCount), valueHeads(from: keyCount, sizes, rowCount: sizes.headSize),
    ]
  }

  static let separateArrangements: [TensorArrangement] = [
    linear("in_proj_qkv.weight") { tensor, sizes in
      reordered(tensor, "in_proj_qkv.weight", channels(sizes))
    },
    linear("in_proj_z.weight") { tensor, sizes in
      reordered(tensor, "in_proj_z.weight", [valueHeads(sizes, rowCount: sizes.headSize)])
    },
    linear("in_proj_a.weight") { tensor, sizes in
      reordered(tensor, "in_proj_a.weight", [valueHeads(sizes, rowCount: 1)])
    },
    linear("in_proj_b.weight") { tensor, sizes in
      reordered(tensor, "in_proj_b.weight", [valueHeads(sizes, rowCount: 1)])
    },
    linear("conv1d.weight") { tensor, sizes in convolution(tensor, sizes, channels(sizes)) },
    linear("A_log") { tensor, sizes in decay(tensor, valueHeads(sizes, rowCount: 1)) },
    linear("dt_bias") { tensor, sizes in
      vector(tensor, "dt_bias", valueHeads(sizes, rowCount: 1)).map { [$0] }
    },
    linear("out_proj.weight") { tensor, sizes in
      guard tensor.shape.rank == 2, tensor.shape.columnCount == sizes.valueRowCount else {
        return nil
      }
      var view = TensorView(name: "linear_attn.out_proj.weight", shape: tensor.shape, source: 0)
      view.rows = [RowSelection(count: tensor.shape.rowCount)]
      if sizes.valuesPerKey > 1 {
        view.columns = .init(
          runLength: sizes.headSize, runs: valueHeads(sizes, rowCount: 1))
      }
      return [view]
    },
  ]

  static func linear(
    _ name: String, _ views: @escaping @Sendable (TensorInfo, LinearAttentionSizes) -> [TensorView]?
  ) -> TensorArrangement {
    TensorArrangement(name: "linear_attn.\(name)") { tensor, values throws(ModelError) in
      views(tensor, try LinearAttentionSizes(values))
    }
  }

  private static func reordered(
    _ tensor: TensorInfo, _ name: String, _ rows: [RowSelection]
  ) -> [TensorView]? {
    guard tensor.shape.rank == 2, tensor.shape.rowCount == rows.reduce(0, { $0 + $1.count }) else {
      return nil
    }
    var view = TensorView(name: "linear_attn.\(name)", shape: tensor.shape, source: 0)
    view.rows = rows
    return [view]
  }

  static func convolution(
    _ tensor: TensorInfo, _ sizes: LinearAttentionSizes, _ rows: [RowSelection]
  ) -> [TensorView]? {
    guard tensor.shape.dimensions == [sizes.channelCount, 1, sizes.kernelSize],
      let shape = Shape(validating: [sizes.channelCount, sizes.kernelSize])
    else { return nil }
    var view = TensorView(name: "linear_attn.conv1d.weight", shape: shape, source: 0)
    view.rows = rows
    return [view]
  }

  private static func vector(
    _ tensor: TensorInfo, _ name: String, _ rows: RowSelection
  ) -> TensorView? {
    guard tensor.shape.dimensions == [rows.count] else { return nil }
    var view = TensorView(name: "linear_attn.\(name)", shape: tensor.shape, source: 0)
    view.rows = [rows]
    view.dividesRows = true
    return view
  }

  /// The factors by which states decay, of which checkpoints store the logarithm of the negative.
  static func decay(_ tensor: TensorInfo, _ rows: RowSelection) -> [TensorView]? {
    guard var view = vector(tensor, "A_log", rows) else { return nil }
    view.function = .negatedExponential
    return [view]
  }
}
