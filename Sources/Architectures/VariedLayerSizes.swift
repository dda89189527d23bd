internal import Bytes
internal import TensorModel

/// What distinguishes an architecture whose layers have sizes by their kind of attention.
package struct VariedLayers: Sendable {
  /// Each layer after so many has full attention, and the others have sliding attention, unless a
  /// config lists them.
  var period: Int
  /// Whether the last layer has full attention in any case.
  var endsInFullAttention = false
  /// Whether layers with full attention may have heads of another size and another number.
  package var hasFullHeads = false
  /// Whether layers that use the keys and values of earlier ones have tensors for them, too.
  package var keepsAllKeys = false
  /// Whether configs list the inner width of each layer.
  var listsWidths = false
}

/// The sizes of a model whose layers differ.
package struct VariedLayerSizes: Sendable, Hashable {
  /// Whether each layer has sliding attention.
  package let slidingLayers: [Bool]
  /// The number of last layers that use the keys and values of earlier ones:
  /// `num_kv_shared_layers`.
  package let sharedCount: Int
  /// The width of the inputs that each layer has of its own, `hidden_size_per_layer_input`; 0
  /// without such inputs.
  package let inputWidth: Int
  /// The number of rows of a head in layers with full attention: `global_head_dim`.
  package let fullHeadSize: Int
  /// The number of heads of keys there, `num_global_key_value_heads`; nil if it is that of the
  /// others.
  package let fullKeyValueHeadCount: Int?
  /// Whether keys are also the values in layers with full attention: `attention_k_eq_v`.
  package let usesKeysAsValues: Bool
  /// Whether all layers have tensors for keys and values.
  let keepsAllKeys: Bool
  /// Whether the config lists the inner width of each layer.
  package let listsWidths: Bool
  /// Whether the feed-forward networks of the last layers are twice as wide: `use_double_wide_mlp`.
  package let doublesSharedWidth: Bool

  /// Reads the sizes that a config states.
  ///
  /// `headSize` and `keyValueHeadCount` are those of layers with sliding attention. Throws
  /// `malformed` for invalid values, `limit` for heads and inputs that are too large, and
  /// `unsupported` for layers of one kind that differ.
  init(
    _ values: ConfigValues, _ layers: VariedLayers, layerCount: Int, headSize: Int,
    keyValueHeadCount: Int
  ) throws(ModelError) {
    var usual = (1...layerCount).map { $0 % layers.period != 0 }
    if layers.endsInFullAttention { usual[layerCount - 1] = false }
    let stated = values["layer_types"].map { JSONValue.object([.init("layer_types", $0)]) } ?? [:]
    slidingLayers = try ConfigValues(config: stated).slidingLayers(usual) ?? usual
    if layers.endsInFullAttention, slidingLayers[layerCount - 1] {
      throw ConfigValues.fault(
        "layer_types", "full_attention in the last layer", "sliding_attention")
    }
    sharedCount = try values.wholeNumber("num_kv_shared_layers") ?? 0
    guard sharedCount < layerCount else {
      throw ConfigValues.fault(
        "num_kv_shared_layers", "fewer than num_hidden_layers", JSONValue(sharedCount))
    }
    let width = VariedLayers.inputWidthKey
    inputWidth = try values.wholeNumber(width) ?? 0
    try ModelSizes.check(inputWidth, atMost: 1 << 20, "rows", width)
    usesKeysAsValues = try values.flag("attention_k_eq_v")
    doublesSharedWidth = try values.flag("use_double_wide_mlp")
    keepsAllKeys = layers.keepsAllKeys
    listsWidths = layers.listsWidths && values["intermediate_size"]?.array != nil
    guard layers.hasFullHeads else {
      (fullHeadSize, fullKeyValueHeadCount) = (headSize, nil)
      return
    }
    let full: (headSize: Int?, keyValueHeadCount: Int?)
    if let listed = values["per_layer_config"] {
      full = try Self.fullHeads(listed, slidingLayers)
    } else {
      full = (
        try values.count("global_head_dim"),
        usesKeysAsValues ? try values.count("num_global_key_value_heads") : nil
      )
    }
    fullHeadSize = full.headSize ?? headSize
    try ModelSizes.check(
      fullHeadSize, atMost: ModelSizes.headSizeLimit, "rows in a head", "global_head_dim")
    fullKeyValueHeadCount = full.keyValueHeadCount.flatMap { $0 == keyValueHeadCount ? nil : $0 }
  }

  /// The heads of layers with full attention, by an object with what each layer changes.
  ///
  /// Throws `malformed` for invalid values, and `unsupported` if other layers are changed, or if
  /// these are not changed in the same way.
  private static func fullHeads(
    _ listed: JSONValue, _ slidingLayers: [Bool]
  ) throws(ModelError) -> (Int?, Int?) {
    let key = "per_layer_config"
    let changes = listed.members ?? []
    guard let first = changes.first?.value else { return (nil, nil) }
    func refusal(_ found: String) -> ModelError {
      ModelError(
        .unsupported, "layers with the same kind of attention must have the same config",
        tensor: key,
        expected: "the same head_dim and num_key_value_heads for all layers with full attention",
        found: found)
    }
    for change in changes {
      guard let layer = Int(change.key), slidingLayers.indices.contains(layer) else {
        throw ConfigValues.fault(key, "numbers of layers", .string(change.key))
      }
      guard !slidingLayers[layer], change.value == first else {
        throw refusal("\(JSONWriter.text(change.value)) for layer \(layer)")
      }
    }
    let names: Set<String> = ["head_dim", "num_key_value_heads"]
    if let other = first.members?.first(where: { !names.contains($0.key) }) {
      throw refusal(other.key)
    }
    guard changes.count == slidingLayers.count(where: { !$0 }) else {
      throw refusal("\(changes.count) layers")
    }
    let values = ConfigValues(config: first)
    return (try values.count("head_dim"), try values.count("num_key_value_heads"))
  }

  /// The number of states of a token in Gemma 3n: `altup_num_inputs`.
  package static let updateCount = 4

  /// The number of layers that have keys and values of their own.
  package var ownCount: Int { slidingLayers.count - sharedCount }

  /// Whether a layer must have a tensor of `layerNames`, by its name there.
  ///
  /// Checkpoints may also have keys and values that a layer does not use.
  func needs(_ stem: String, layer: Int) -> Bool {
    let hasKeys = keepsAllKeys || layer < ownCount
    return switch stem {
    case "self_attn.k_proj", "self_attn.k_norm": hasKeys
    case "self_attn.v_proj": hasKeys && has(stem, layer: layer)
    default: true
    }
  }

  /// Whether a layer can have a tensor, by its name in the tables.
  func has(_ stem: String, layer: Int) -> Bool {
    guard stem == "self_attn.v_proj", slidingLayers.indices.contains(layer) else { return true }
    return !usesKeysAsValues || slidingLayers[layer]
  }

  /// The layer whose keys and values a layer uses: the last one of its kind that has its own; nil if
  /// the layer has its own, and if there is none.
  package func source(ofLayer layer: Int) -> Int? {
    guard layer >= ownCount else { return nil }
    return slidingLayers[..<ownCount].lastIndex(of: slidingLayers[layer])
  }

  /// The number of rows of a head of a layer; `headSize` is that of layers with sliding attention.
  func headSize(_ layer: Int, _ headSize: Int) -> Int {
    slidingLayers.indices.contains(layer) && !slidingLayers[layer] ? fullHeadSize : headSize
  }

  /// The number of heads of keys of each layer, from that of layers with sliding attention.
  package func keyValueHeadCounts(_ count: Int) -> [Int] {
    slidingLayers.map { $0 ? count : fullKeyValueHeadCount ?? count }
  }

  /// The inner width of the feed-forward network of each layer, from that of the first ones.
  package func feedForwardSizes(_ size: Int) -> [Int] {
    slidingLayers.indices.map { doublesSharedWidth && $0 >= ownCount ? 2 * size : size }
  }

  // MARK: - Shapes

  /// The extents of a tensor whose size is not that of other architectures; nil for others.
  func extents(
    of stem: String, layer: Int?, _ sizes: ModelSizes, tokenCount: Int
  ) -> [ExpectedShape.Extent]? {
    typealias Extent = ExpectedShape.Extent
    let hidden = Extent(count: sizes.hiddenSize, formula: "hidden_size")
    let width = Extent(count: inputWidth, formula: "hidden_size_per_layer_input")
    let allWidths = Extent(
      count: slidingLayers.count * inputWidth,
      formula: "num_hidden_layers · hidden_size_per_layer_input")
    switch stem {
    case "model.embed_tokens_per_layer":
      return [Extent(count: tokenCount, formula: "rows of the embeddings"), allWidths]
    case "model.per_layer_model_projection": return [allWidths, hidden]
    case "model.per_layer_projection_norm": return [width]
    case "model.altup_projections.*", "model.altup_unembed_projections.*": return [hidden, hidden]
    default: break
    }
    guard let layer, slidingLayers.indices.contains(layer) else { return nil }
    let isFull = !slidingLayers[layer]
    let size = headSize(layer, sizes.headSize)
    let sizeKey = isFull ? "global_head_dim" : "head_dim"
    func heads(_ count: Int, _ key: String) -> Extent {
      Extent(count: count * size, formula: "\(key) · \(sizeKey)")
    }
    let queries = heads(sizes.headCount, "num_attention_heads")
    let doubles = doublesSharedWidth && layer >= ownCount
    let inner = Extent(
      count: doubles ? 2 * sizes.feedForwardSize : sizes.feedForwardSize,
      formula: doubles ? "2 · intermediate_size" : "intermediate_size")
    // Other values are refused.
    let rank = Extent(count: 64, formula: "laurel_rank")
    func updates(_ power: Int) -> Extent {
      let count = Self.updateCount
      return power == 1
        ? Extent(count: count, formula: "altup_num_inputs")
        : Extent(count: count * count, formula: "altup_num_inputs²")
    }
    switch stem {
    case "self_attn.q_proj": return [queries, hidden]
    case "self_attn.o_proj": return [hidden, queries]
    case "self_attn.k_proj", "self_attn.v_proj":
      let isOther = isFull && fullKeyValueHeadCount != nil
      let count = (isOther ? fullKeyValueHeadCount : nil) ?? sizes.keyValueHeadCount
      let key = isOther ? "num_global_key_value_heads" : "num_key_value_heads"
      return [heads(count, key), hidden]
    case "self_attn.q_norm", "self_attn.k_norm": return [Extent(count: size, formula: sizeKey)]
    case "mlp.gate_proj", "mlp.up_proj": return [inner, hidden]
    case "mlp.down_proj": return [hidden, inner]
    case "per_layer_input_gate": return [width, hidden]
    case "per_layer_projection": return [hidden, width]
    case "layer_scalar": return [Extent(count: 1, formula: "1")]
    case "altup.correct_output_scale", "altup.router_norm", "laurel.post_laurel_norm":
      return [hidden]
    case "altup.modality_router": return [updates(1), hidden]
    case "altup.correction_coefs": return [updates(1), updates(1)]
    case "altup.prediction_coefs": return [updates(2), updates(1)]
    case "laurel.linear_left": return [rank, hidden]
    case "laurel.linear_right": return [hidden, rank]
    default: return sizes.experts.flatMap { expertExtents(of: stem, hidden, $0) }
    }
  }

  private func expertExtents(
    of stem: String, _ hidden: ExpectedShape.Extent, _ sizes: ExpertSizes
  ) -> [ExpectedShape.Extent]? {
    let experts = ExpectedShape.Extent(count: sizes.count, formula: "num_experts")
    func inner(_ factor: Int) -> ExpectedShape.Extent {
      .init(
        count: factor * (sizes.width ?? 0),
        formula: factor == 1 ? "moe_intermediate_size" : "\(factor) · moe_intermediate_size")
    }
    return switch stem {
    case "router.proj": [experts, hidden]
    case "router.scale": [hidden]
    case "router.per_expert_scale": [experts]
    case "experts.gate_up_proj": [experts, inner(2), hidden]
    case "experts.down_proj": [experts, hidden, inner(1)]
    default: nil
    }
  }
}
