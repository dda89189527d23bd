internal import Bytes
internal import TensorModel

extension Architecture {
  /// Falcon H1: attention and states side by side in all layers, and factors that llama.cpp has in
  /// the weights.
  static let falconH1 = Architecture(
    ggufName: "falcon-h1", modelTypes: ["falcon_h1"], className: "FalconH1ForCausalLM",
    interleavesRotaryRows: false,
    modelNames: [("model.embed_tokens", "token_embd"), ("model.final_layernorm", "output_norm")]
      + CommonNames.head,
    layerNames: CommonNames.attention + [
      ("input_layernorm", "attn_norm"), ("feed_forward.gate_proj", "ffn_gate"),
      ("feed_forward.up_proj", "ffn_up"), ("feed_forward.down_proj", "ffn_down"),
    ] + stateSpaceNames(hasNorm: false).names,
    stateSpace: falconKeys,
    optionalNames: [OptionalNames(key: "mamba_rms_norm", names: [("mamba.norm", "ssm_norm")])],
    completeNames: [("pre_ff_layernorm.weight", ["ffn_norm"])] + stateSpaceNames().completeNames,
    arrangements: stateSpaceArrangements(falconKeys) + falconFactors
      + falconFactors.map(multipliedAsInMLX),
    returns: stateSpaceReturns(falconKeys),
    defaults: unitFactors.overridden(by: [
      "mamba_d_ssm": 1024, "mamba_n_heads": 128, "mamba_n_groups": 1, "mamba_d_state": 256,
      "mamba_d_conv": 4, "mamba_rms_norm": false, "mamba_norm_before_gate": true,
      "tie_word_embeddings": false,
    ]),
    runtimeValues: { _ in ["mamba_norm_before_gate": false] }, unitFactors: unitFactors,
    hyperparameters: [.vocabularySize, .stateSpace],
    traits: RuntimeTraits(
      biases: stateSpaceBiases, requiredBiases: stateSpaceBiases,
      limits: stateSpaceLimits(
        kernel: "mamba_d_conv", convolutionBias: "mamba_conv_bias",
        others: ["attention_bias", "mlp_bias", "projectors_bias", "mamba_proj_bias"])
        + [
          ConfigLimit("mamba_norm_before_gate", expected: "false, or no norm") { config in
            let isBefore = config["mamba_norm_before_gate"]?.bool ?? true
            return config["mamba_rms_norm"]?.bool == true && isBefore ? "true" : nil
          },
          // The embeddings have their factor, and not that of the head.
          ConfigLimit("tie_word_embeddings", expected: "false, or equal factors of both") {
            config in
            let factors = ["embedding_multiplier", "lm_head_multiplier"].map {
              config[$0]?.double ?? 1
            }
            return config["tie_word_embeddings"]?.bool == true && factors[0] != factors[1]
              ? "true" : nil
          },
          ConfigLimit("mamba_d_ssm", expected: "a number") {
            $0["mamba_d_ssm"] == .null ? "null" : nil
          },
        ]))

  private static let falconKeys = StateSpaceKeys(
    innerSize: "mamba_d_ssm", statedHeadSize: "mamba_d_head")

  /// The keys of all factors, with the values that change nothing.
  private static let unitFactors: JSONValue = [
    "embedding_multiplier": one, "lm_head_multiplier": one, "key_multiplier": one,
    "attention_in_multiplier": one, "attention_out_multiplier": one, "ssm_in_multiplier": one,
    "ssm_out_multiplier": one, "mlp_multipliers": [one, one],
    "ssm_multipliers": [one, one, one, one, one],
  ]

  private static let one = JSONValue.number(1)

  /// The weights whose outputs transformers multiplies, or whose inputs; in the order in which
  /// llama.cpp's converter multiplies.
  private static let falconFactors: [TensorArrangement] = [
    multiplied("self_attn.q_proj", by: ["attention_in_multiplier"]),
    multiplied("self_attn.k_proj", by: ["key_multiplier", "attention_in_multiplier"]),
    multiplied("self_attn.v_proj", by: ["attention_in_multiplier"]),
    multiplied("self_attn.o_proj", by: ["attention_out_multiplier"]),
    multiplied("mamba.out_proj", by: ["ssm_out_multiplier"]),
    multiplied("model.embed_tokens", by: ["embedding_multiplier"]),
    multiplied("lm_head", by: ["lm_head_multiplier"]),
    multiplied("feed_forward.gate_proj") { tensor, values throws(ModelError) in
      [
        .init(
          rowCount: tensor.shape.rowCount, factors: [try factors(values, "mlp_multipliers", 2)[0]])
      ]
    },
    multiplied("feed_forward.down_proj") { tensor, values throws(ModelError) in
      [
        .init(
          rowCount: tensor.shape.rowCount, factors: [try factors(values, "mlp_multipliers", 2)[1]])
      ]
    },
    multiplied("mamba.in_proj") { _, values throws(ModelError) in
      let sizes = try StateSpaceSizes(values, falconKeys)
      let whole = try factor(values, "ssm_in_multiplier")
      let parts = try factors(values, "ssm_multipliers", 5)
      let counts = [
        sizes.innerSize, sizes.innerSize, sizes.groupRowCount, sizes.groupRowCount, sizes.headCount,
      ]
      return zip(counts, parts).map { .init(rowCount: $0, factors: [whole, $1]) }
    },
  ]

  /// The weight of a stem times the factors of some keys, one after the other.
  private static func multiplied(
    _ stem: String, by keys: [String]
  ) -> TensorArrangement {
    multiplied(stem) { tensor, values throws(ModelError) in
      var factors: [Float] = []
      for key in keys { factors.append(try factor(values, key)) }
      return [.init(rowCount: tensor.shape.rowCount, factors: factors)]
    }
  }

  /// The weight of a stem, whose parts of rows have factors; as it is if all factors are 1.
  private static func multiplied(
    _ stem: String,
    _ factors:
      @escaping @Sendable (TensorInfo, ConfigValues) throws(ModelError)
      -> [TensorView.RowFactors]
  ) -> TensorArrangement {
    let name = stem + ".weight"
    return TensorArrangement(name: name, comesBackAsIs: true) {
      tensor, values throws(ModelError) in
      let factors = try factors(tensor, values)
      let rowCount = factors.reduce(0) { $0 + $1.rowCount }
      guard tensor.shape.rank == 2, tensor.shape.rowCount == rowCount else { return nil }
      var view = TensorView(name: name, shape: tensor.shape, source: 0)
      guard factors.contains(where: { $0.factors.contains { $0 != 1 } }) else { return [view] }
      view.rows = [RowSelection(count: rowCount)]
      view.factors = factors
      return [view]
    }
  }

  /// The same for mlx-lm, which multiplies in the type of the weights.
  private static func multipliedAsInMLX(_ arrangement: TensorArrangement) -> TensorArrangement {
    TensorArrangement(name: arrangement.name, runtimes: [.mlxLM]) {
      tensor, values throws(ModelError) in
      try arrangement.views(tensor, values)?.map { view in
        var view = view
        if !view.factors.isEmpty {
          view.productType = .f32
          if case .plain(let type) = tensor.encoding, [.f16, .bf16].contains(type) {
            view.productType = type
          }
        }
        return view
      }
    }
  }

  /// A number of the config; 1 if the config lacks it.
  ///
  /// Throws `malformed` for another value, and for one that is too large for 32 bits.
  private static func factor(_ values: ConfigValues, _ key: String) throws(ModelError) -> Float {
    let number = Float(try values.number(key) ?? 1)
    guard number.isFinite else { throw ConfigValues.fault(key, "a number", values[key]) }
    return number
  }

  /// The numbers of a list; 1 if the config lacks it.
  ///
  /// Throws `malformed` for a list of another length.
  private static func factors(
    _ values: ConfigValues, _ key: String, _ count: Int
  ) throws(ModelError) -> [Float] {
    guard let stated = values[key] else { return Array(repeating: 1, count: count) }
    let numbers = (stated.array ?? []).compactMap(\.double).map { Float($0) }
    guard numbers.count == count, numbers.allSatisfy(\.isFinite) else {
      throw ConfigValues.fault(key, "a list of \(count) numbers", stated)
    }
    return numbers
  }
}
