internal import Architectures
internal import Bytes
internal import TensorModel

extension DecoderShape {
  /// The heads of each layer, and what it does with positions.
  static func layers(
    _ config: JSONValue, _ architecture: Architecture, _ parameters: Hyperparameters,
    _ kind: DecoderKind
  ) throws(ModelError) -> [Layer] {
    let limits = try activationLimits(config, kind, layerCount: parameters.layerCount)
    let windows = try windows(config, architecture, parameters)
    let hasWindow = windows.contains { $0 != nil }
    let growth = try growth(config, kind)
    let chunk = try chunk(config, kind)
    try parameters.varied.map { varied throws(ModelError) in try checkSources(varied) }
    return windows.enumerated().map { index, window in
      var layer = Layer(heads: heads(ofLayer: index, parameters))
      layer.setParts(of: architecture, parameters, index)
      guard layer.hasAttention else { return layer }
      let isSliding = window != nil
      layer.window = window
      layer.activationLimit = limits[index]
      layer.source = parameters.varied?.source(ofLayer: index)
      layer.usesKeysAsValues = !isSliding && parameters.varied?.usesKeysAsValues ?? false
      let isRotated =
        switch kind.rotation {
        case .all: true
        case .listed: rotates(layer: index, config)
        case .sliding:
          isSliding || kind.rotatesLeading && index < parameters.sizes.leadingCount
        case .slidingIfAny: isSliding || !hasWindow
        case .none: false
        }
      guard isRotated else {
        layer.growth = growth
        return layer
      }
      let hasOwnAngles = isSliding && kind.slidingIsUnscaled
      layer.chunk = chunk
      layer.rotation = Rotation(
        isSliding: hasOwnAngles, isScaled: !hasOwnAngles,
        rotatedCount: parameters.varied == nil
          ? parameters.rope.rotatedCount(isSliding: hasOwnAngles) : layer.heads.keySize)
      return layer
    }
  }

  private static func checkSources(_ varied: VariedLayerSizes) throws(ModelError) {
    let shared = varied.ownCount..<varied.slidingLayers.count
    guard shared.contains(where: { varied.source(ofLayer: $0) == nil }) else { return }
    throw refusal(
      "num_kv_shared_layers", "a layer of the same kind before that has keys of its own",
      "\(varied.sharedCount) of \(varied.slidingLayers.count) layers")
  }

  /// The key of a config for the part of activations that are 0 in each layer.
  static let sparsityKey = "activation_sparsity_pattern"

  private static func activationLimits(
    _ config: JSONValue, _ kind: DecoderKind, layerCount: Int
  ) throws(ModelError) -> [Double?] {
    let none = [Double?](repeating: nil, count: layerCount)
    guard kind.alternatesUpdates else { return none }
    // The default of transformers.
    guard let stated = config[sparsityKey], stated != .null else {
      return none.indices.map { layerCount > 10 && $0 < 10 ? usualLimit : nil }
    }
    let parts = stated.array?.map(\.double) ?? []
    guard parts.count == layerCount, parts.allSatisfy({ $0 == 0 || $0 == usualPart }) else {
      throw refusal(sparsityKey, "0 or \(usualPart) for each layer", JSONWriter.text(stated))
    }
    return parts.map { $0 == 0 ? nil : usualLimit }
  }

  /// The part of activations that are 0 in published models, and the quantile of the normal
  /// distribution that so much is below.
  private static let (usualPart, usualLimit) = (0.95, 1.644853626951472)

  private static func heads(ofLayer layer: Int, _ parameters: Hyperparameters) -> Heads {
    let (sizes, latent) = (parameters.sizes, parameters.latent)
    return Heads(
      count: sizes.headCount, keyValueCount: sizes.keyValueHeadCount(ofLayer: layer),
      keySize: latent.map { $0.keyValueRank + $0.rotatedSize } ?? sizes.headSize(ofLayer: layer),
      valueSize: latent?.keyValueRank ?? sizes.headSize(ofLayer: layer))
  }

  // The defaults here are those of Llama 4 in transformers. Layers that rotate attend to chunks.

  private static func growth(
    _ config: JSONValue, _ kind: DecoderKind
  ) throws(ModelError) -> QueryGrowth? {
    let tuning = config["attn_temperature_tuning"] ?? true
    guard kind.growsQueries, tuning.bool ?? (tuning.int != 0) else { return nil }
    let length = config["floor_scale"]?.double ?? 8192
    guard length > 0 else { throw refusal("floor_scale", "a number above 0", "\(length)") }
    return QueryGrowth(scale: config["attn_scale"]?.double ?? 0.1, length: length)
  }

  private static func chunk(
    _ config: JSONValue, _ kind: DecoderKind
  ) throws(ModelError) -> Int? {
    guard kind.growsQueries else { return nil }
    let stated = config["attention_chunk_size"] ?? 8192
    guard stated != .null else { return nil }
    if let length = stated.int, length > 0 { return length }
    throw refusal("attention_chunk_size", "a whole number above 0", JSONWriter.text(stated))
  }

  /// Whether a layer rotates, by `no_rope_layers` or `no_rope_layer_interval`.
  private static func rotates(layer: Int, _ config: JSONValue) -> Bool {
    if let list = config["no_rope_layers"]?.array, layer < list.count { return list[layer] != 0 }
    return (layer + 1) % (config["no_rope_layer_interval"]?.int ?? 4) != 0
  }

  /// The window of each layer; nil for layers that attend to all positions.
  private static func windows(
    _ config: JSONValue, _ architecture: Architecture, _ parameters: Hyperparameters
  ) throws(ModelError) -> [Int?] {
    let count = parameters.layerCount
    if let varied = parameters.varied {
      let window = parameters.slidingWindow
      guard window != nil || !varied.slidingLayers.contains(true) else {
        throw refusal("sliding_window", "a number of positions", "nothing")
      }
      return varied.slidingLayers.map { $0 ? window : nil }
    }
    let none = [Int?](repeating: nil, count: count)
    let stated = config["sliding_window"].map { $0.int }
    switch architecture.traits.sliding {
    case .none: return none
    case .ignored(let window): return Array(repeating: stated ?? window, count: count)
    case .unsupported:
      guard config["use_sliding_window"]?.bool == true, let window = stated ?? 4096 else {
        return none
      }
      let types = config["layer_types"]?.array
      let first = config["max_window_layers"]?.int ?? 28
      return (0..<count).map { layer in
        let slides = types.map { $0[layer] == "sliding_attention" } ?? (layer >= first)
        return slides ? window : nil
      }
    case .alternating, .alternatingAfterFirst:
      guard let window = parameters.slidingWindow,
        let pattern = parameters.slidingLayers ?? architecture.usualSlidingLayers(count)
      else { return none }
      return pattern.map { $0 ? window : nil }
    }
  }
}

extension DecoderShape.Layer {
  /// Sets which parts the layer has.
  fileprivate mutating func setParts(
    of architecture: Architecture, _ parameters: Hyperparameters, _ index: Int
  ) {
    let sizes = parameters.sizes
    let kind = sizes.kind(ofLayer: index)
    hasAttention = kind == .attention && !architecture.hasNoAttention
    let isRecurrent = kind == .recurrent
    convolutionSize = isRecurrent ? sizes.shortConvolutionSize : nil
    // Without kinds, all layers have what the architecture has.
    hasStates =
      isRecurrent && sizes.linear != nil
      || sizes.stateSpace != nil && (isRecurrent || sizes.layerKinds.isEmpty)
    // Layers have one part each, if some have nothing but a network.
    let hasNetworks = [LayerKind.feedForward, .experts].contains {
      architecture.kindNames[$0] != nil
    }
    hasNetwork =
      hasNetworks ? kind == .feedForward || kind == .experts : !architecture.hasNoAttention
  }
}
