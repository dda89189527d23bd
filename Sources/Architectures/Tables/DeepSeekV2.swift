internal import Bytes
internal import TensorModel

extension Architecture {
  /// DeepSeek 2.
  static let deepSeekV2 = latent(
    ["deepseek_v2"], className: "DeepseekV2ForCausalLM",
    limits: [
      ConfigLimit("topk_method", only: ["greedy"], default: "greedy"),
      // llama.cpp chooses among several groups in any case.
      ConfigLimit("n_group", expected: "1") {
        $0["n_group"]?.int.flatMap { $0 > 1 ? "\($0)" : nil }
      },
    ])

  /// Latent attention, and experts in all layers but the first ones.
  static func latent(
    _ modelTypes: [String], className: String, hasSigmoidRouter: Bool = false,
    hasPredictionLayers: Bool = false, specialTokens: [(kind: String, text: String)] = [],
    limits: [ConfigLimit]
  ) -> Architecture {
    Architecture(
      ggufName: "deepseek2", modelTypes: modelTypes, className: className,
      interleavesRotaryRows: false,
      modelNames: CommonNames.ends + CommonNames.head,
      layerNames: CommonNames.normsBefore + [
        ("self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"),
        ("self_attn.kv_a_layernorm", "attn_kv_a_norm"),
        ("self_attn.k_b_proj", "attn_k_b"), ("self_attn.v_b_proj", "attn_v_b"),
        ("self_attn.o_proj", "attn_output"),
      ],
      experts: .deepSeek, expertNames: CommonNames.experts,
      leadingNames: CommonNames.feedForward,
      laterNames: CommonNames.router + CommonNames.sharedExperts,
      predictionNames: hasPredictionLayers ? CommonNames.prediction : [],
      optionalNames: [
        OptionalNames(
          key: "q_lora_rank",
          names: [
            ("self_attn.q_a_proj", "attn_q_a"), ("self_attn.q_a_layernorm", "attn_q_a_norm"),
            ("self_attn.q_b_proj", "attn_q_b"),
          ]),
        OptionalNames(
          key: "q_lora_rank", isStated: false, names: [("self_attn.q_proj", "attn_q")]),
      ],
      completeNames: hasSigmoidRouter
        ? [("mlp.gate.e_score_correction_bias", ["exp_probs_b.bias"])] : [],
      stackNames: CommonNames.stacks,
      otherNames: [
        ("self_attn.embed_q.weight", "self_attn.k_b_proj.weight"),
        ("self_attn.unembed_out.weight", "self_attn.v_b_proj.weight"),
      ],
      arrangements: [
        TensorArrangement(name: "self_attn.kv_b_proj.weight") {
          tensor, values throws(ModelError) in
          let headCount = try values.extent("num_attention_heads")
          return compressed(tensor, try LatentAttentionSizes(values), headCount)
        }
      ],
      returns: [
        TensorReturn("self_attn.kv_b_proj.weight", of: ["attn_k_b.weight", "attn_v_b.weight"]) {
          parts, values throws(ModelError) in
          let headCount = try values.extent("num_attention_heads")
          return whole(parts, try LatentAttentionSizes(values), headCount)
        }
      ],
      specialTokens: specialTokens, hasLatentAttention: true,
      leavesOutPredictionLayers: !hasPredictionLayers,
      multipliers: [("routed_scaling_factor", "expert_weights_scale")],
      flags: [("norm_topk_prob", "expert_weights_norm")], statesFalseFlags: false,
      hyperparameters: [
        .leadingCount, .vocabularySize, .latentAttention, .expertWidth, .expertCount,
        .usedExpertCount, .sharedExpertCount, .expertGroups, .rotatedCount,
      ] + (hasSigmoidRouter ? [.sigmoidRouter] : [])
        + (hasPredictionLayers ? [.predictionLayersIfAny] : []),
      traits: RuntimeTraits(
        biases: [], ropeScalings: [.yarn],
        limits: limits + [
          ConfigLimit("attention_bias", only: [false]), ConfigLimit("moe_layer_freq", only: [1]),
          oneScale,
        ]))
  }

  /// llama.cpp scales by one factor of YaRN alone.
  private static var oneScale: ConfigLimit {
    ConfigLimit("rope_scaling", expected: "mscale equal to mscale_all_dim") {
      let rope = RopeParameters.object(in: $0).value
      guard let type = (rope["rope_type"] ?? rope["type"])?.string, type == "yarn" else {
        return nil
      }
      let (scale, scaleOfAll) = (rope["mscale"]?.double, rope["mscale_all_dim"]?.double)
      return scale == scaleOfAll && scale != nil ? nil : "\(scale ?? 0) and \(scaleOfAll ?? 0)"
    }
  }

  /// The matrices that make keys and values from the compressed ones, for each head.
  ///
  /// The rows of a head are those for keys, then those for values. llama.cpp multiplies queries by
  /// the matrix for keys, so that it is transposed there.
  private static func compressed(
    _ tensor: TensorInfo, _ sizes: LatentAttentionSizes, _ headCount: Int
  ) -> [TensorView]? {
    let rowCount = sizes.plainSize + sizes.valueSize
    guard tensor.shape.dimensions == [headCount * rowCount, sizes.keyValueRank],
      let keyShape = Shape(validating: [headCount, sizes.keyValueRank, sizes.plainSize]),
      let valueShape = Shape(validating: [headCount, sizes.valueSize, sizes.keyValueRank])
    else { return nil }
    var keys = TensorView(name: "self_attn.k_b_proj.weight", shape: keyShape, source: 0)
    keys.rows = [RowSelection(count: headCount * sizes.keyValueRank)]
    keys.transposition = .init(matrixRowCount: rowCount, usedRows: 0..<sizes.plainSize)
    var values = TensorView(name: "self_attn.v_b_proj.weight", shape: valueShape, source: 0)
    values.rows = [
      RowSelection(from: sizes.plainSize, [(headCount, rowCount), (sizes.valueSize, 1)])
    ]
    return [keys, values]
  }

  /// The matrix that makes keys and values, from those for each head.
  private static func whole(
    _ parts: [TensorView], _ sizes: LatentAttentionSizes, _ headCount: Int
  ) -> TensorView? {
    let (plainSize, valueSize) = (sizes.plainSize, sizes.valueSize)
    guard parts[0].shape.dimensions == [headCount, sizes.keyValueRank, plainSize],
      parts[1].shape.dimensions == [headCount, valueSize, sizes.keyValueRank],
      let keys = parts[0].transposedMatrices
    else { return nil }
    let rows = (0..<headCount).flatMap { head in
      [
        RowSelection(from: head * plainSize, count: plainSize),
        RowSelection(from: headCount * plainSize + head * valueSize, count: valueSize),
      ]
    }
    return .joiningRows(
      of: [keys, parts[1]], [headCount * (plainSize + valueSize), sizes.keyValueRank], rows: rows)
  }
}
