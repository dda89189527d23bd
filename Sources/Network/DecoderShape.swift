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
///       h += norm(projection(f(gate h) · inputs of the layer))
///       h *= scale of the layer
///     logits = head(norm(h)) · logitScale
///
/// What a model has no tensors for is left out. With `isParallel` the feed-forward network
/// has the same input as attention.
package struct DecoderShape: Sendable {
  /// The number of hidden numbers of a token.
  package let width: Int
  /// The sizes of latent attention; nil without it.
  let latent: LatentAttentionSizes?
  /// The number of rows of the embeddings.
  package let vocabularySize: Int
  /// The number of positions that the model was trained for.
  package let contextLength: Int
  /// The heads of each layer, and what it does with positions.
  package let layers: [Layer]
  /// The number of inputs that each layer has of its own; 0 without them.
  let layerInputWidth: Int

  /// What the tables of tensors do not tell.
  let kind: DecoderKind
  let normSubtractsMean: Bool
  let normEpsilon: Double
  /// What is added to the weights of norms.
  let normAddend: Float
  /// The function of feed-forward networks; nil for one with numbers of its own in each layer.
  let activation: ActivationFunction?
  /// The gate of experts that limits its inputs; nil for an activation and a product.
  let clampedGate: ClampedGate?
  /// The factor of scores, before they are capped.
  let scoreScale: Float
  /// The limit of queries, keys and values; nil for none.
  let attentionClamp: Float?
  /// The limit of scores; nil for none.
  let scoreCap: Float?
  /// The limit of logits; nil for none.
  let logitCap: Float?
  let embeddingScale: Float
  let residualScale: Float
  let logitScale: Float
  let isParallel: Bool
  let normsAllHeads: Bool
  /// The number of gates after attention; nil for one for each number of the heads.
  let gateCount: Int?
  /// Whether queries and keys that are rotated are normed without weights.
  let normsRotatedHeads: Bool
  /// Whether pairs that are rotated are neighbours.
  let rotatesNeighbours: Bool
  let rope: RopeParameters
  /// How experts are used; nil without experts.
  let experts: Experts?
  /// Whether the projection to queries also makes gates, after those of each head.
  let gatesQueries: Bool
  /// The heads of layers with states; nil without such layers.
  let recurrence: Recurrence?
  /// The function after the convolution of layers with states.
  let convolutionActivation: ActivationFunction
  /// The least time step of layers with states.
  let leastStep: Float

  /// The heads of a layer, and what it does with positions.
  package struct Layer: Sendable, Hashable {
    /// The heads of attention.
    var heads: Heads
    /// The number of positions that a query sees, itself and those before it; nil for all.
    package var window: Int?
    /// The length of the chunks of a text that queries see their own one of; nil for no chunks.
    var chunk: Int?
    /// How queries and keys are rotated; nil if they are not.
    package var rotation: Rotation?
    /// How queries grow with their position; nil if they do not.
    var growth: QueryGrowth?
    /// The number of positions that a short convolution sees; nil in a layer without one.
    var convolutionSize: Int?
    /// The layer whose keys and values it uses; nil if it has its own.
    var source: Int?
    /// Whether keys, as they are before their norm, are also the values.
    var usesKeysAsValues = false
    /// How many standard deviations above their mean activations are that are not 0; nil for all.
    var activationLimit: Double?
    /// Whether it has attention.
    var hasAttention = true
    /// Whether it has states, in place of attention or beside it.
    var hasStates = false
    /// Whether it has a feed-forward network or experts.
    var hasNetwork = true

    /// The first position that a query sees.
    func firstSeen(from position: Int) -> Int {
      if let chunk { return position / chunk * chunk }
      return window.map { max(0, position - $0 + 1) } ?? 0
    }
  }

  /// The heads of attention.
  struct Heads: Sendable, Hashable {
    /// The number of heads of queries.
    var count: Int
    /// The number of heads of keys, and of values.
    var keyValueCount: Int
    /// The number of numbers of a key.
    var keySize: Int
    /// The number of numbers of a value, before latent attention makes it from the compressed one.
    var valueSize: Int

    /// The number of numbers of all keys of a token.
    var keyWidth: Int { keyValueCount * keySize }
    /// The number of numbers of all values of a token.
    var valueWidth: Int { keyValueCount * valueSize }
  }

  /// The factor of queries 1 + scale · ln(1 + ⌊(position + 1) / length⌋).
  struct QueryGrowth: Sendable, Hashable {
    var scale: Double
    var length: Double

    func factor(_ position: Int) -> Float {
      let steps = (Double(position + 1) / length).rounded(.down)
      return Float(1 + scale * Platform.logarithm(1 + steps))
    }
  }

  /// The rotary embeddings of a layer.
  package struct Rotation: Sendable, Hashable {
    /// Whether they are those of sliding attention.
    var isSliding: Bool
    /// Whether angles are scaled.
    var isScaled: Bool
    /// The number of numbers of a head that are rotated.
    var rotatedCount: Int
  }

  /// A gate x · sigmoid(scale · x) whose input x is limited.
  struct ClampedGate: Sendable {
    var scale: Float
    var limit: Float
  }

  /// Groups of as many experts each, in the best of which a token chooses.
  struct ExpertGroups: Sendable {
    var count: Int
    var usedCount: Int
    /// The number of scores, the largest ones, whose sum is that of a group.
    var scoredCount: Int
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
    /// The groups of experts; nil if a token chooses among all of them.
    var groups: ExpertGroups?
  }

  /// A norm of hidden numbers without weights.
  var plainNorm: RowNorm {
    RowNorm(subtractsMean: normSubtractsMean, epsilon: normEpsilon, weights: nil)
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
    self.kind = kind
    try architecture.checkLimits(
      config, of: LimitedRuntime(Self.runtime, hint: nil, computing: kind.computedKeys))
    guard parameters.isCausal else { throw Self.refusal("is_causal", "true", "false") }
    width = parameters.hiddenSize
    latent = parameters.latent
    self.vocabularySize = vocabularySize
    // Without attention a config states none, and llama.cpp's converter writes this one.
    contextLength = architecture.hasNoAttention ? 1 << 20 : parameters.contextLength
    normSubtractsMean =
      architecture.normEpsilon.ggufKey == RuntimeTraits.layerNormEpsilon
      && parameters.rmsEpsilon == nil && !kind.keepsMeans
    normEpsilon = parameters.rmsEpsilon ?? parameters.normEpsilon
    normAddend = architecture.addsOneToNorms && !isGGUF ? 1 : 0
    activation = try Self.activation(config, architecture.traits.activation)
    clampedGate = kind.clampsGate ? try Self.clampedGate(config) : nil
    let names = Set(
      architecture.layerNames.map(\.gguf) + architecture.completeNames.flatMap(\.gguf))
    isParallel =
      !names.contains(kind.feedForwardNorm) && !names.contains("post_attention_norm")
      && !kind.lacksNormWeights
    normsAllHeads = architecture.normsAllHeads
    gateCount = parameters.gateRowCount
    normsRotatedHeads = kind.normsRotatedHeads && config["use_qk_norm"]?.bool ?? true
    rotatesNeighbours = kind.rotatesNeighbours || isGGUF && architecture.interleavesRotaryRows
    rope = parameters.rope
    if case .unknown(let name) = rope.scaling {
      throw Self.refusal("rope_scaling", "a way to scale that Pleat knows", name)
    }
    let multipliers = Dictionary(
      zip(architecture.multipliers.map(\.key), parameters.multipliers), uniquingKeysWith: { $1 })
    let usualScale =
      if let scale = kind.scoreScale {
        scale
      } else {
        try Self.scoreScale(config, architecture, parameters)
      }
    scoreScale = multipliers["attention_multiplier"].map { Float($0) } ?? usualScale
    attentionClamp = parameters.attentionClamp.map { Float($0) }
    scoreCap = parameters.attentionSoftcap(in: config)
    logitCap = parameters.finalSoftcap(in: config)
    embeddingScale =
      kind.scalesEmbeddings
      ? Float(parameters.hiddenSize).squareRoot()
      : Float(multipliers["embedding_multiplier"] ?? 1)
    residualScale = Float(multipliers["residual_multiplier"] ?? 1)
    logitScale = Float(multipliers["logit_scale"] ?? 1 / (multipliers["logits_scaling"] ?? 1))
    layers = try Self.layers(config, architecture, parameters, kind)
    layerInputWidth = parameters.varied?.inputWidth ?? 0
    experts = try Self.experts(config, architecture, parameters, kind, isGGUF: isGGUF)
    gatesQueries = architecture.gatesQueries
    recurrence =
      parameters.linear.map { Recurrence($0, alternates: kind.alternatesHeads) }
      ?? parameters.stateSpace.map { Recurrence($0) }
    try recurrence?.check()
    let function = architecture.traits.activation.key == "hidden_act" ? activation : nil
    convolutionActivation = function ?? .silu
    // The default is that of transformers.
    leastStep = kind.limitsSteps ? Float(config["time_step_min"]?.double ?? 0.001) : 0
  }

  /// The error for a value of a config that Pleat does not run.
  static func refusal(_ key: String, _ expected: String, _ found: String) -> ModelError {
    ModelError(
      .unsupported, "\(runtime) does not compute this", tensor: key, expected: expected,
      found: found)
  }

  private static func activation(
    _ config: JSONValue, _ usual: RuntimeTraits.Activation
  ) throws(ModelError) -> ActivationFunction? {
    let stated = config[usual.key]?.string ?? usual.name
    let isUsual = usual.isUnreliable || usual.synonyms.contains(stated)
    let name = isUsual ? usual.name : stated
    let known: [(String, ActivationFunction)] = [
      ("silu", .silu), ("swish", .silu), ("relu", .relu), ("relu2", .squaredReLU),
    ]
    if name == RuntimeTraits.Activation.xIELU.name, name == usual.name { return nil }
    if let found = known.first(where: { $0.0 == name }) { return found.1 }
    let gelu = RuntimeTraits.Activation.gelu
    if name == gelu.name || gelu.synonyms.contains(name) { return .geluTanh }
    throw refusal(usual.key, (known.map(\.0) + [gelu.name]).joined(separator: ", "), name)
  }

  // The defaults are those of transformers.
  private static func clampedGate(_ config: JSONValue) throws(ModelError) -> ClampedGate {
    let (scale, limit) = (
      config["swiglu_alpha"]?.double ?? 1.702, config["swiglu_limit"]?.double ?? 7
    )
    guard limit > 0 else { throw refusal("swiglu_limit", "a number above 0", "\(limit)") }
    return ClampedGate(scale: Float(scale), limit: Float(limit))
  }

  private static func scoreScale(
    _ config: JSONValue, _ architecture: Architecture, _ parameters: Hyperparameters
  ) throws(ModelError) -> Float {
    if let latent = parameters.latent {
      let scale = 1 / Double(latent.headSize).squareRoot()
      guard case .yarn(let yarn) = parameters.rope.scaling else { return Float(scale) }
      return Float(scale * yarn.scoreFactor)
    }
    guard architecture.traits.scalesQueries else {
      return 1 / Float(parameters.headSize).squareRoot()
    }
    // The default of transformers.
    let scalar = config["query_pre_attn_scalar"]?.double ?? 256
    guard scalar > 0 else {
      throw refusal("query_pre_attn_scalar", "a number above 0", "\(scalar)")
    }
    return 1 / Float(scalar).squareRoot()
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
