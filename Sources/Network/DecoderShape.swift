internal import Architectures
internal import Bytes
internal import Kernels
internal import TensorModel

/// What a decoder computes: sizes and switches of one forward function.
///
///     h = embeddings[token] · embeddingScale
///     for each layer:
///       h += residualScale · norm(attention(norm(h)))
///       h += residualScale · norm(feedForward(norm(h)))
///     logits = head(norm(h)) · logitScale
///
/// A norm is left out where a model has no tensor for it. With `isParallel` the feed-forward network
/// has the same input as attention.
package struct DecoderShape: Sendable {
  /// The number of hidden numbers of a token.
  package let width: Int
  /// The number of heads of queries.
  package let headCount: Int
  /// The number of heads of keys, and of values.
  package let keyValueHeadCount: Int
  /// The number of numbers of a head.
  package let headSize: Int
  /// The number of rows of the embeddings.
  package let vocabularySize: Int
  /// The number of positions that the model was trained for.
  package let contextLength: Int
  /// What each layer does with positions.
  package let layers: [Layer]

  let normSubtractsMean: Bool
  let normEpsilon: Double
  /// What is added to the weights of norms.
  let normAddend: Float
  let activation: ActivationFunction
  /// The factor of scores, before they are capped.
  let scoreScale: Float
  /// The limit of scores; nil for none.
  let scoreCap: Float?
  /// The limit of logits; nil for none.
  let logitCap: Float?
  let embeddingScale: Float
  let residualScale: Float
  let logitScale: Float
  let isParallel: Bool
  let normsAllHeads: Bool
  let normsAfterRotation: Bool
  /// Whether pairs that are rotated are neighbours.
  let rotatesNeighbours: Bool
  let rope: RopeParameters
  /// How experts are used; nil without experts.
  let experts: Experts?
  /// llama.cpp's name for the norm before the feed-forward network.
  let feedForwardNorm: String

  /// What a layer does with positions.
  package struct Layer: Sendable, Hashable {
    /// The number of positions that a query sees, itself and those before it; nil for all.
    package var window: Int?
    /// How queries and keys are rotated; nil if they are not.
    package var rotation: Rotation?
  }

  /// The rotary embeddings of a layer.
  package struct Rotation: Sendable, Hashable {
    /// Whether they are those of sliding attention.
    var isSliding: Bool
    /// Whether angles are scaled.
    var isScaled: Bool
  }

  /// How experts are used.
  struct Experts: Sendable {
    var count: Int
    /// The number of experts that a token uses.
    var usedCount: Int
    var router: DecoderKind.Router
    /// Whether the weights of the chosen experts are divided by their sum.
    var normalizes: Bool
    /// What weights are multiplied by.
    var scale: Float
  }

  /// The number of experts of a layer; 0 without experts.
  package var expertCount: Int { experts?.count ?? 0 }

  static let runtime = "Pleat's forward pass"

  /// Reads what a config says.
  ///
  /// - Parameters:
  ///   - config: The config of the text model.
  ///   - architecture: The architecture that it names.
  ///   - parameters: Its hyperparameters.
  ///   - vocabularySize: The number of rows of the embeddings.
  ///   - isGGUF: Whether tensors have the names, the order of rows and the numbers of llama.cpp.
  /// - Throws: `unsupported` for an architecture or a value that Pleat does not run.
  init(
    _ config: JSONValue, _ architecture: Architecture, _ parameters: Hyperparameters,
    vocabularySize: Int, isGGUF: Bool
  ) throws(ModelError) {
    guard let kind = DecoderKind.of(architecture) else {
      throw DecoderKind.refusal(of: architecture.modelTypes[0])
    }
    try architecture.checkLimits(
      config, of: LimitedRuntime(Self.runtime, hint: nil, computing: kind.computedKeys))
    guard parameters.isCausal else { throw Self.refusal("is_causal", "true", "false") }
    width = parameters.hiddenSize
    headCount = parameters.headCount
    keyValueHeadCount = parameters.keyValueHeadCount
    headSize = parameters.headSize
    self.vocabularySize = vocabularySize
    contextLength = parameters.contextLength
    normSubtractsMean = architecture.normEpsilon.ggufKey == RuntimeTraits.layerNormEpsilon
    normEpsilon = parameters.normEpsilon
    normAddend = architecture.addsOneToNorms && !isGGUF ? 1 : 0
    activation = try Self.activation(config, architecture.traits.activation)
    let names = Set(architecture.layerNames.map(\.gguf))
    isParallel =
      !names.contains(kind.feedForwardNorm) && !names.contains("post_attention_norm")
    normsAllHeads = architecture.normsAllHeads
    normsAfterRotation = kind.normsAfterRotation
    rotatesNeighbours = kind.rotatesNeighbours || isGGUF && architecture.interleavesRotaryRows
    feedForwardNorm = kind.feedForwardNorm
    rope = parameters.rope
    if case .unknown(let name) = rope.scaling {
      throw Self.refusal("rope_scaling", "a way to scale that Pleat knows", name)
    }
    let multipliers = Dictionary(
      zip(architecture.multipliers.map(\.key), parameters.multipliers), uniquingKeysWith: { $1 })
    let usualScale = try Self.scoreScale(config, architecture, headSize: parameters.headSize)
    scoreScale = multipliers["attention_multiplier"].map { Float($0) } ?? usualScale
    scoreCap = parameters.attentionSoftcap(in: config)
    logitCap = parameters.finalSoftcap(in: config)
    embeddingScale =
      kind.scalesEmbeddings
      ? Float(parameters.hiddenSize).squareRoot()
      : Float(multipliers["embedding_multiplier"] ?? 1)
    residualScale = Float(multipliers["residual_multiplier"] ?? 1)
    logitScale = Float(multipliers["logit_scale"] ?? 1 / (multipliers["logits_scaling"] ?? 1))
    layers = try Self.layers(config, architecture, parameters, kind)
    experts = try Self.experts(config, architecture, parameters, kind)
  }

  private static func refusal(_ key: String, _ expected: String, _ found: String) -> ModelError {
    ModelError(
      .unsupported, "\(runtime) does not compute this", tensor: key, expected: expected,
      found: found)
  }

  private static func activation(
    _ config: JSONValue, _ usual: RuntimeTraits.Activation
  ) throws(ModelError) -> ActivationFunction {
    let stated = config[usual.key]?.string ?? usual.name
    let isUsual = usual.isUnreliable || usual.synonyms.contains(stated)
    let name = isUsual ? usual.name : stated
    let known: [(String, ActivationFunction)] = [
      ("silu", .silu), ("swish", .silu), ("relu", .relu), ("relu2", .squaredReLU),
    ]
    if let found = known.first(where: { $0.0 == name }) { return found.1 }
    let gelu = RuntimeTraits.Activation.gelu
    if name == gelu.name || gelu.synonyms.contains(name) { return .geluTanh }
    throw refusal(usual.key, (known.map(\.0) + [gelu.name]).joined(separator: ", "), name)
  }

  private static func scoreScale(
    _ config: JSONValue, _ architecture: Architecture, headSize: Int
  ) throws(ModelError) -> Float {
    guard architecture.traits.scalesQueries else { return 1 / Float(headSize).squareRoot() }
    // The default of transformers.
    let scalar = config["query_pre_attn_scalar"]?.double ?? 256
    guard scalar > 0 else {
      throw refusal("query_pre_attn_scalar", "a number above 0", "\(scalar)")
    }
    return 1 / Float(scalar).squareRoot()
  }

  private static func experts(
    _ config: JSONValue, _ architecture: Architecture, _ parameters: Hyperparameters,
    _ kind: DecoderKind
  ) throws(ModelError) -> Experts? {
    guard let sizes = parameters.sizes.experts else { return nil }
    guard let router = kind.router, let used = parameters.usedExpertCount else {
      throw refusal("num_experts", "a model type with experts", "\(sizes.count) experts")
    }
    let scales = zip(architecture.multipliers, parameters.multipliers)
      .filter { $0.0.ggufKey == "expert_weights_scale" }
    let flags = zip(architecture.flags, parameters.flags)
      .filter { $0.0.ggufKey == "expert_weights_norm" }
    let normalizes =
      switch router {
      case .softmaxOfChosen: false
      case .softmax(.always), .sigmoid(.always): true
      case .softmax(.stated(let usual)), .sigmoid(.stated(let usual)):
        flags.first?.1 ?? config[DecoderKind.normalizationKey]?.bool ?? usual
      }
    return Experts(
      count: sizes.count, usedCount: used, router: router, normalizes: normalizes,
      scale: Float(scales.first?.1 ?? 1))
  }
}

// MARK: - Layers

extension DecoderShape {
  private static func layers(
    _ config: JSONValue, _ architecture: Architecture, _ parameters: Hyperparameters,
    _ kind: DecoderKind
  ) throws(ModelError) -> [Layer] {
    let windows = windows(config, architecture, parameters)
    let hasWindow = windows.contains { $0 != nil }
    return windows.enumerated().map { index, window in
      let isSliding = window != nil
      let isRotated =
        switch kind.rotation {
        case .all: true
        case .listed: rotates(layer: index, config)
        case .sliding: isSliding
        case .slidingIfAny: isSliding || !hasWindow
        }
      guard isRotated else { return Layer(window: window, rotation: nil) }
      let hasOwnAngles = isSliding && kind.slidingIsUnscaled
      return Layer(
        window: window, rotation: Rotation(isSliding: hasOwnAngles, isScaled: !hasOwnAngles))
    }
  }

  /// Whether a layer rotates, by `no_rope_layers` or `no_rope_layer_interval`.
  private static func rotates(layer: Int, _ config: JSONValue) -> Bool {
    if let list = config["no_rope_layers"]?.array, layer < list.count { return list[layer] != 0 }
    return (layer + 1) % (config["no_rope_layer_interval"]?.int ?? 4) != 0
  }

  /// The window of each layer; nil for layers that attend to all positions.
  private static func windows(
    _ config: JSONValue, _ architecture: Architecture, _ parameters: Hyperparameters
  ) -> [Int?] {
    let count = parameters.layerCount
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

extension Hyperparameters {
  /// The limit of scores; null in a config means none, although the architecture has a default.
  fileprivate func attentionSoftcap(in config: JSONValue) -> Float? {
    config["attn_logit_softcapping"] == .null ? nil : attentionSoftcap.map { Float($0) }
  }

  /// The limit of logits.
  fileprivate func finalSoftcap(in config: JSONValue) -> Float? {
    let found = config["final_logit_softcapping"] == .null ? nil : finalSoftcap
    return found.flatMap { $0 == 0 ? nil : Float($0) }
  }
}
