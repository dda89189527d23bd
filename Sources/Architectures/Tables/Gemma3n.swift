internal import Bytes
internal import TensorModel

extension Architecture {
  /// Gemma 3n, and the text model of its versions with towers for pictures and sound.
  static let gemma3n = Architecture(
    ggufName: "gemma3n", modelTypes: ["gemma3n_text", "gemma3n"], className: "Gemma3nForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head + CommonNames.modelInputs,
    layerNames: CommonNames.attention + CommonNames.attentionNorms + CommonNames.feedForward
      + CommonNames.normsAround + CommonNames.layerInputs + [
        ("altup.correction_coefs", "altup_correct_coef"),
        ("altup.prediction_coefs", "altup_predict_coef"),
        ("altup.modality_router", "altup_router"), ("altup.router_norm", "altup_router_norm"),
        ("laurel.linear_left", "laurel_l"), ("laurel.linear_right", "laurel_r"),
        ("laurel.post_laurel_norm", "laurel_post_norm"),
      ],
    completeNames: [("altup.correct_output_scale", ["altup_correct_scale.weight"])],
    numberedNames: [
      ("model.altup_projections.*", "altup_proj"),
      ("model.altup_unembed_projections.*", "altup_unembd_proj"),
    ],
    arrangements: [
      TensorArrangement(
        name: "model.embed_tokens_per_layer.weight", comesBackAsIs: true, views: extended)
    ],
    variedLayers: VariedLayers(period: 5, keepsAllKeys: true, listsWidths: true),
    defaults: [
      "head_dim": 256, "sliding_window": 512, "rope_theta": 1_000_000,
      "rope_local_base_freq": 10_000, "hidden_size_per_layer_input": 256,
      "num_kv_shared_layers": 15, "vocab_size": 262_400, "final_logit_softcapping": 30,
    ], runtimeValues: { ["activation_sparsity_pattern": sparsity($0.layerCount)] },
    hyperparameters: [.finalSoftcap, .slidingWindow, .variedLayers, .alternatingUpdates],
    neverAddsSpacePrefix: true,
    traits: RuntimeTraits(
      activation: .gelu, biases: [], biasKeys: [("attention_bias", RuntimeTraits.attention)],
      ropeScalings: [],
      limits: [
        ConfigLimit("altup_num_inputs", only: [4]), ConfigLimit("altup_active_idx", only: [0]),
        ConfigLimit("altup_correct_scale", only: [true]), ConfigLimit("laurel_rank", only: [64]),
        ConfigLimit("hidden_size_per_layer_input", only: [256]),
        ConfigLimit("final_logit_softcapping", expected: "30") {
          guard let value = $0["final_logit_softcapping"], value.double != 30 else { return nil }
          return JSONWriter.text(value)
        },
        .sharedAfterTwentieth, .sparseFirstLayers,
      ]))

  /// The inputs of tokens that the table lacks: transformers takes those of the first token.
  ///
  /// llama.cpp needs a row for each token.
  private static func extended(
    _ table: TensorInfo, _ values: ConfigValues
  ) throws(ModelError) -> [TensorView]? {
    let (rowCount, tokenCount) = (table.shape.rowCount, try values.extent("vocab_size"))
    var view = TensorView(
      name: "model.embed_tokens_per_layer.weight", shape: table.shape, source: 0)
    guard table.shape.rank == 2, rowCount < tokenCount else { return [view] }
    let missing = tokenCount - rowCount
    guard missing <= mostMissingRows,
      let shape = Shape(validating: [tokenCount, table.shape.columnCount])
    else { return nil }
    view.shape = shape
    view.rows =
      [RowSelection(count: rowCount)] + Array(repeating: RowSelection(count: 1), count: missing)
    return [view]
  }

  /// The part of activations that are zero in each layer.
  private static func sparsity(_ layerCount: Int) -> JSONValue {
    .array((0..<layerCount).map { .number($0 < ConfigLimit.sparseLayerCount ? 0.95 : 0) })
  }

  /// Gemma 3n has 256 tokens for pictures and sound.
  private static let mostMissingRows = 4096
}

extension ConfigLimit {
  /// The layer after which llama.cpp uses the keys and values of earlier layers.
  private static let ownLayerCount = 20
  /// The layers in which it sets all but the largest activations to zero.
  fileprivate static let sparseLayerCount = 10

  fileprivate static let sharedAfterTwentieth = ConfigLimit(
    "num_kv_shared_layers", expected: "all but the first \(ownLayerCount) layers"
  ) {
    guard let count = $0["num_hidden_layers"]?.int else { return nil }
    let shared = $0["num_kv_shared_layers"]?.int ?? 15
    return shared == max(0, count - ownLayerCount) ? nil : "\(shared) of \(count)"
  }

  fileprivate static let sparseFirstLayers = ConfigLimit(
    "activation_sparsity_pattern", expected: "0.95 for the first \(sparseLayerCount) layers, then 0"
  ) {
    guard let pattern = $0["activation_sparsity_pattern"], pattern != .null else {
      // The default of transformers.
      let count = $0["num_hidden_layers"]?.int ?? 35
      return count > sparseLayerCount ? nil : "nothing, which means 0 for \(count) layers"
    }
    let numbers = pattern.array?.map(\.double) ?? []
    let expected = numbers.indices.map { $0 < sparseLayerCount ? 0.95 : 0 }
    return numbers == expected && !numbers.isEmpty ? nil : JSONWriter.text(pattern)
  }
}
