package import Bytes
package import TensorModel

/// The numbers that determine the shapes of a model's tensors.
package struct ModelSizes: Sendable, Hashable {
  /// The number of layers: `num_hidden_layers`.
  package let layerCount: Int
  /// The number of layers after these that predict several tokens at once:
  /// `num_nextn_predict_layers`.
  package let predictionLayerCount: Int
  /// The width of the residual stream: `hidden_size`.
  package let hiddenSize: Int
  /// The inner width of a feed-forward network: `intermediate_size`, or else that of an expert.
  package let feedForwardSize: Int
  /// Whether the source states `feedForwardSize`.
  package let statesFeedForwardSize: Bool
  /// The number of heads of queries: `num_attention_heads`.
  package let headCount: Int
  /// The number of heads of keys, and of values: `num_key_value_heads`.
  package let keyValueHeadCount: Int
  /// The number of rows of a head: `head_dim`, or else `hidden_size` divided by the heads.
  package let headSize: Int
  /// Whether the source states `headSize`; otherwise it was computed.
  package let statesHeadSize: Bool
  /// The sizes of experts; nil without experts.
  package let experts: ExpertSizes?
  /// The sizes of latent attention, with which `headSize` is that of what is rotated; otherwise nil.
  package let latent: LatentAttentionSizes?
  /// The sizes of linear attention; nil if no layer has it.
  package let linear: LinearAttentionSizes?
  /// The number of positions that short convolutions see: `conv_L_cache`; nil without them.
  package let shortConvolutionSize: Int?
  /// The sizes of layers with states; nil without them.
  package let stateSpace: StateSpaceSizes?
  /// The kind of each layer; empty if all layers are alike.
  package let layerKinds: [LayerKind]
  /// The rows of the projection to queries for each row of queries: 2 if it also makes gates.
  package let rowsPerQuery: Int
  /// The rows of the gates of attention that are a layer of their own; nil without such gates.
  package let gateRowCount: Int?
  /// The number of rows of position embeddings of an encoder; nil for other models.
  package let positionCount: Int?
  /// The number of rows of token type embeddings of an encoder; nil for other models.
  package let tokenTypeCount: Int?
  /// The number of first layers that lack some tensors of the others.
  package let leadingCount: Int
  /// The sizes of layers that differ; nil if all layers have the same.
  package let varied: VariedLayerSizes?

  // Tables of rotary embeddings have a number for each pair of rows; this limits their size.
  static let headSizeLimit = 1 << 16

  /// Reads the sizes that a `config.json` states.
  ///
  /// - Parameters:
  ///   - config: The config of the text model.
  ///   - architecture: The architecture that the config names.
  ///   - queryRowCount: The number of rows of the projection to queries; nil if it is not known.
  /// - Throws: `malformed` for values that are missing or invalid, `limit` for heads that are too
  ///   large, and `unsupported` for values that differ by layer.
  package init(
    _ config: JSONValue, _ architecture: Architecture, queryRowCount: Int? = nil
  ) throws(ModelError) {
    let values = ConfigValues(config, architecture)
    layerCount = try values.required("num_hidden_layers")
    let predictionLayers = try values.wholeNumber("num_nextn_predict_layers")
    predictionLayerCount = architecture.predictionNames.isEmpty ? 0 : predictionLayers ?? 0
    hiddenSize = try values.required("hidden_size")
    let innerKey = architecture.innerWidthKey
    let widthKey = values[innerKey] == nil ? "intermediate_size" : innerKey
    let width =
      architecture.variedLayers?.listsWidths ?? false
      ? try values.equalCount(widthKey) : try values.count(widthKey)
    statesFeedForwardSize = width != nil
    headCount = try values.required("num_attention_heads")
    let latent = try architecture.hasLatentAttention ? LatentAttentionSizes(values) : nil
    self.latent = latent
    // llama.cpp has one head of keys and values then: the compressed ones.
    keyValueHeadCount =
      latent == nil ? try values.count("num_key_value_heads") ?? headCount : 1
    try Self.check(keyValueHeadCount, divides: headCount, "num_key_value_heads")
    let stated = try values.count(latent == nil ? "head_dim" : "qk_rope_head_dim")
    statesHeadSize = latent == nil && stated != nil
    let derived = hiddenSize / headCount
    // A config that leaves the size out has the default of transformers. Some programs write configs
    // for which the weights have the other default.
    let isStated = (config["head_dim"] ?? .null) != .null
    rowsPerQuery = architecture.gatesQueries ? 2 : 1
    let isDerived =
      latent == nil && !isStated && queryRowCount == rowsPerQuery * headCount * derived
    headSize = isDerived ? derived : stated ?? derived
    try Self.check(headSize, atMost: Self.headSizeLimit, "rows in a head", "head_dim")
    let experts = try architecture.experts.flatMap { keys throws(ModelError) in
      let hasExperts = try keys.flag.map { key throws(ModelError) in try values.flag(key) }
      return hasExperts ?? true ? try ExpertSizes(values, keys) : nil
    }
    self.experts = experts
    guard let width = width ?? experts?.width else {
      throw ConfigValues.fault("intermediate_size", "a whole number above 0", nil)
    }
    feedForwardSize = width
    let keys = architecture.hyperparameters
    linear = keys.contains(.linearAttention) ? try LinearAttentionSizes(values) : nil
    shortConvolutionSize =
      keys.contains(.shortConvolution) ? try values.extent("conv_L_cache") : nil
    stateSpace = try architecture.stateSpace.map { keys throws(ModelError) in
      try StateSpaceSizes(values, keys)
    }
    layerKinds = try values.layerKinds(architecture.layerKinds, layerCount)
    let gateRows = values["gating"] == "per-element" ? headCount * headSize : headCount
    gateRowCount = architecture.hasGateLayer ? gateRows : nil
    let isEncoder = architecture.isEncoder
    positionCount = isEncoder ? try values.count("max_position_embeddings") : nil
    tokenTypeCount = isEncoder ? try values.wholeNumber("type_vocab_size") : nil
    leadingCount = experts?.leadingCount ?? architecture.encoder?.leadingCount ?? 0
    guard let layers = architecture.variedLayers else {
      varied = nil
      return
    }
    try Self.check(layerCount, atMost: Self.layerLimit, "layers", "num_hidden_layers")
    varied = try VariedLayerSizes(
      values, layers, layerCount: layerCount, headSize: headSize,
      keyValueHeadCount: keyValueHeadCount)
    if let count = varied?.fullKeyValueHeadCount {
      try Self.check(count, divides: headCount, "num_global_key_value_heads")
    }
  }

  /// Throws `malformed` for a number of heads of keys that do not have as many heads of queries each.
  private static func check(
    _ count: Int, divides headCount: Int, _ key: String
  ) throws(ModelError) {
    guard headCount % count != 0 else { return }
    throw ConfigValues.fault(
      key, "a divisor of num_attention_heads, \(headCount)", JSONValue(count))
  }

  /// The kind of a layer, by its number; those that predict several tokens have attention.
  package func kind(ofLayer layer: Int) -> LayerKind {
    layer < layerKinds.count ? layerKinds[layer] : .attention
  }

  /// The number of rows of a head of a layer.
  package func headSize(ofLayer layer: Int) -> Int {
    varied?.headSize(layer, headSize) ?? headSize
  }

  /// The number of heads of keys, and of values, of a layer.
  package func keyValueHeadCount(ofLayer layer: Int) -> Int {
    varied?.keyValueHeadCounts(keyValueHeadCount)[layer] ?? keyValueHeadCount
  }

  /// The number of rows of a head in layers with full attention.
  package var fullHeadSize: Int { varied?.fullHeadSize ?? headSize }

  // LLAMA_MAX_LAYERS of llama.cpp.
  static let layerLimit = 512

  /// Whether a layer lacks the tensors of most others: it is one of the first, or has no experts.
  ///
  /// Layers that predict several tokens at once have experts.
  package func isLeading(_ layer: Int) -> Bool {
    guard layer >= leadingCount else { return true }
    return layer < layerCount && !(layer + 1).isMultiple(of: experts?.interval ?? 1)
  }

  /// The number of experts of a layer; nil without experts.
  package var expertCount: Int? { experts?.count }

  /// Throws `limit` for a number of the config that is too large.
  static func check(
    _ count: Int, atMost limit: Int, _ noun: String, _ key: String
  ) throws(ModelError) {
    guard count > limit else { return }
    throw ModelError(
      .limit, "config.json states too many \(noun)", tensor: key, expected: "at most \(limit)",
      found: "\(count)")
  }

  /// Reads the sizes that the metadata of a GGUF file of an architecture states.
  ///
  /// `tensors` are those of the file, if they are known: they show what the metadata does not state.
  /// Throws `malformed` for values that are missing or invalid.
  init(
    _ values: GGUFValues, _ architecture: Architecture, _ tensors: [TensorInfo]
  ) throws(ModelError) {
    let gates = tensors.first { $0.name.hasSuffix(".attn_gate.weight") }
    gateRowCount = architecture.hasGateLayer ? gates?.shape.rowCount : nil
    let blockCount = try values.required("block_count")
    predictionLayerCount = min(
      max(values.wholeNumber("nextn_predict_layers") ?? 0, 0), blockCount - 1)
    layerCount = blockCount - predictionLayerCount
    hiddenSize = try values.required("embedding_length")
    experts = try ExpertSizes(values, architecture, tensors)
    // Layers of other kinds may have no such network, and models without attention have none.
    let network = [LayerKind.feedForward, .experts].first { architecture.kindNames[$0] != nil }
    let widths = values.numbers("feed_forward_length") ?? []
    let width = try Self.feedForwardSize(values, architecture, network, widths)
    statesFeedForwardSize = width != nil || experts == nil
    let others = width ?? experts?.width
    feedForwardSize =
      if let others { others } else { try values.required("feed_forward_length") }
    headCount = try architecture.hasNoAttention ? 1 : values.required("attention.head_count")
    let latent = try architecture.hasLatentAttention ? LatentAttentionSizes(values) : nil
    self.latent = latent
    // Layers without attention have no such heads.
    let counts = values.numbers("attention.head_count_kv") ?? []
    let isMixed = architecture.listsKeyValueHeads && !counts.isEmpty
    let hasFullHeads = architecture.variedLayers?.hasFullHeads ?? false
    keyValueHeadCount =
      if let sliding = hasFullHeads ? Self.slidingHeadCount(values, counts) : nil {
        sliding
      } else if isMixed {
        try values.equalCount("attention.head_count_kv")
      } else {
        try values.count("attention.head_count_kv") ?? headCount
      }
    let headKey = hasFullHeads ? "attention.key_length_swa" : "attention.key_length"
    let stated = if let latent { latent.rotatedSize } else { try values.count(headKey) }
    statesHeadSize = stated != nil && latent == nil
    headSize = stated ?? (architecture.hasNoAttention ? 16 : hiddenSize / headCount)
    let keys = architecture.hyperparameters
    let linear = try keys.contains(.linearAttention) ? LinearAttentionSizes(values) : nil
    self.linear = linear
    rowsPerQuery = architecture.gatesQueries ? 2 : 1
    layerKinds =
      if isMixed {
        counts.prefix(layerCount).enumerated().map { layer, count in
          if let network, layer < widths.count, widths[layer] > 0 { return network }
          return count == 0 ? .recurrent : .attention
        }
      } else if let linear {
        Self.layerKinds(values, linear, layerCount: layerCount)
      } else {
        []
      }
    shortConvolutionSize =
      keys.contains(.shortConvolution) ? try values.extent("shortconv.l_cache") : nil
    stateSpace = try architecture.stateSpace.map { keys throws(ModelError) in
      try StateSpaceSizes(values, keys)
    }
    (positionCount, tokenTypeCount) = (nil, nil)
    leadingCount = experts?.leadingCount ?? 0
    guard let layers = architecture.variedLayers else {
      varied = nil
      return
    }
    varied = try VariedLayerSizes(
      values, layers, layerCount: layerCount, headSize: headSize, tensors)
  }

  /// The width of the feed-forward network, of the first layer that has one; nil if none is stated.
  ///
  /// `widths` are those of all layers, and `network` the kind of layers that have one, if others have
  /// none. Throws `malformed`.
  private static func feedForwardSize(
    _ values: GGUFValues, _ architecture: Architecture, _ network: LayerKind?, _ widths: [Int]
  ) throws(ModelError) -> Int? {
    if architecture.hasNoAttention { return 1 }
    if architecture.variedLayers != nil, let first = widths.first(where: { $0 > 0 }) {
      return first
    }
    guard network != nil, !widths.isEmpty else { return try values.count("feed_forward_length") }
    return try values.equalCount("feed_forward_length")
  }

  /// The heads of keys in layers with sliding attention, of those of all layers; nil if not stated.
  private static func slidingHeadCount(_ values: GGUFValues, _ counts: [Int]) -> Int? {
    let layer = values.flags("attention.sliding_window_pattern")?.firstIndex(of: true) ?? 0
    return layer < counts.count && counts[layer] > 0 ? counts[layer] : nil
  }

  /// The kinds of layers with linear attention: those that the file lists, or all but every n-th.
  private static func layerKinds(
    _ values: GGUFValues, _ linear: LinearAttentionSizes, layerCount: Int
  ) -> [LayerKind] {
    let recurrent = values.flags("attention.recurrent_layers") ?? []
    return (0..<min(layerCount, layerLimit)).map { layer in
      let isUsual = (layer + 1) % linear.fullAttentionInterval != 0
      let isRecurrent = layer < recurrent.count ? recurrent[layer] : isUsual
      return isRecurrent ? .recurrent : .attention
    }
  }
}
