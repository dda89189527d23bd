package import Bytes
package import TensorModel

/// The numbers that describe a transformer, besides its tensors.
///
/// They are read from `config.json` or from the metadata of a GGUF file, with the same meaning.
@dynamicMemberLookup
package struct Hyperparameters: Sendable, Hashable {
  /// The numbers that determine the shapes of the tensors; their names are also names here.
  package let sizes: ModelSizes
  /// The number of positions that the model was trained for: `max_position_embeddings`.
  package let contextLength: Int
  /// The number that a norm adds to the mean square, or to the variance: `rms_norm_eps` or similar.
  package let normEpsilon: Double
  /// The parameters of rotary embeddings.
  package let rope: RopeParameters
  /// The number of rows of the token embeddings; nil if the architecture does not state it.
  package private(set) var vocabularySize: Int?
  /// The softcap that limits attention logits to ± this number; nil if there is none.
  package private(set) var attentionSoftcap: Double?
  /// The limit of queries, keys and values, which are clamped to ± this number; nil if there is none.
  package private(set) var attentionClamp: Double?
  /// The softcap that limits the logits of the head to ± this number; nil if there is none.
  package private(set) var finalSoftcap: Double?
  /// The window of sliding attention in positions; nil if the architecture has none.
  package private(set) var slidingWindow: Int?
  /// Whether each layer has sliding attention; nil if layers alternate as llama.cpp assumes.
  package private(set) var slidingLayers: [Bool]?
  /// Whether tokens attend only to earlier ones; false for some models that embed texts.
  package let isCausal: Bool
  /// The number of experts that a token uses; nil without experts.
  package private(set) var usedExpertCount: Int?
  /// The number of groups of experts: `n_group`; nil if the source does not state it.
  package private(set) var expertGroupCount: Int?
  /// The number of groups in which routers choose: `topk_group`.
  package private(set) var usedExpertGroupCount: Int?
  /// The values of the architecture's `multipliers`, in their order.
  package private(set) var multipliers: [Double] = []
  /// The number of layers that a vision tower adds to; nil if the architecture has no such tower.
  package private(set) var deepstackCount: Int?
  /// The values of the architecture's `flags`, in their order.
  package private(set) var flags: [Bool] = []
  /// The name of the function of the feed-forward network; nil if the architecture has only one.
  package private(set) var activation: String?
  /// `rms_norm_eps` beside `normEpsilon`; nil if norms subtract the mean, and for other models.
  package private(set) var rmsEpsilon: Double?
  /// Whether routers compute sigmoids instead of a softmax; nil if the architecture has one function.
  package private(set) var routersComputeSigmoids: Bool?

  /// A hyperparameter that not all architectures have.
  package enum Key: Sendable, Hashable, CaseIterable {
    case vocabularySize
    case rotatedCount
    /// The same in layers with sliding attention.
    case slidingRotatedCount
    /// The number of heads of queries as a list with one for each layer.
    case headCounts
    case originalContextLength
    case attentionSoftcap
    case attentionClamp
    case finalSoftcap
    /// Like `finalSoftcap`, with 0 for none, since llama.cpp has a default.
    case finalSoftcapOrZero
    case slidingWindow
    /// Like `slidingWindow`, with 0 for none.
    case slidingWindowOrZero
    case slidingLayers
    /// Like `slidingLayers`, but also stated if layers alternate as llama.cpp assumes.
    case everySlidingLayer
    /// The base of rotary embeddings in sliding layers, also stated if it is that of all layers.
    case slidingBase
    /// A statement that rotary embeddings are not scaled.
    case noRopeScaling
    case ropeAttentionFactor
    /// How many pairs of a head each kind of position rotates, in models with a vision tower.
    case ropeSections
    /// The number of layers that a vision tower adds to, of which text has no use.
    case deepstackCount
    case expertCount
    case usedExpertCount
    case expertWidth
    case sharedExpertCount
    /// The same, unless it is 0.
    case sharedExpertCountIfAny
    case sharedExpertWidth
    case leadingCount
    /// The distance of layers with experts, after the first ones.
    case expertInterval
    /// The number of layers that predict several tokens at once, also 0.
    case predictionLayers
    /// The same, unless it is 0.
    case predictionLayersIfAny
    /// The ranks and the sizes of heads of latent attention.
    case latentAttention
    /// The number of positions that short convolutions see.
    case shortConvolution
    /// The sizes of layers with states.
    case stateSpace
    /// A statement that nothing is rotated.
    case noRotation
    /// A statement that there are no experts, with the width of a feed-forward network.
    case noExperts
    /// The sizes of linear attention, and the layers that have it.
    case linearAttention
    /// Like `ropeSections`, with those of Qwen 3.5 if the source states none.
    case ropeSectionsOfQwen
    /// The number of groups of experts, and of those in which routers choose.
    case expertGroups
    /// A statement that experts are one group, in which routers choose.
    case oneExpertGroup
    /// A statement that routers compute sigmoids.
    case sigmoidRouter
    /// The function that routers compute, by `expert_selection_fn`.
    case routerFunction
    /// `rms_norm_eps`, in architectures whose norms may lack the mean.
    case rmsEpsilonIfAny
    /// The function of the feed-forward network, if the config states it.
    case activation
    /// How fast queries grow with their position.
    case queryGrowth
    /// The weight in YaRN that the factor of attention is divided by.
    case yarnScaleOfAll
    /// The sizes of layers that differ by their kind of attention.
    case variedLayers
    /// The states of each token in Gemma 3n, and which activations are zero.
    case alternatingUpdates
  }

  /// One of the sizes.
  package subscript<Value>(dynamicMember size: KeyPath<ModelSizes, Value>) -> Value {
    sizes[keyPath: size]
  }

  /// Reads the hyperparameters that a `config.json` states.
  ///
  /// - Parameters:
  ///   - config: The config; for a larger model, with the members of the config of its text model.
  ///   - architecture: The architecture that the config names.
  ///   - tokenCount: The number of rows of the token embeddings.
  ///   - queryRowCount: The number of rows of the projection to queries; nil if it is not known.
  /// - Throws: `malformed` for values that are missing or invalid, `limit` for heads that are too
  ///   large or too many layers, and `unsupported` for values that differ by layer.
  package init(
    _ config: JSONValue, _ architecture: Architecture, tokenCount: Int, queryRowCount: Int? = nil
  ) throws(ModelError) {
    sizes = try ModelSizes(config, architecture, queryRowCount: queryRowCount)
    try ModelSizes.check(
      sizes.layerCount, atMost: ModelSizes.layerLimit, "layers", "num_hidden_layers")
    let values = ConfigValues(config, architecture)
    contextLength = try Self.contextLength(values, architecture)
    let epsilonKey = architecture.normEpsilon.key
    guard let epsilon = try values.number(epsilonKey) else {
      throw ConfigValues.fault(epsilonKey, "a number", nil)
    }
    normEpsilon = epsilon
    rope = try RopeParameters(
      values, headSize: sizes.headSize, contextLength: contextLength, architecture.traits)
    isCausal = !architecture.isEncoder && values["is_causal"]?.bool ?? true
    for key in architecture.hyperparameters {
      try read(key, values, architecture, tokenCount: tokenCount)
    }
    for (key, _) in architecture.flags { flags.append(try values.flag(key)) }
    for (key, _) in architecture.multipliers { multipliers.append(try values.positive(key)) }
    guard let usual = architecture.usualSlidingLayers(sizes.layerCount) else { return }
    slidingLayers = try values.slidingLayers(usual)
    if slidingLayers?.contains(true) == false { slidingWindow = nil }
    // Their pattern is stated with a window only.
    let statesAll = architecture.hyperparameters.contains(.everySlidingLayer)
    if statesAll, slidingWindow == nil { slidingLayers = nil }
  }

  /// The number of positions that texts can have.
  ///
  /// Throws `malformed` for values that are missing or invalid.
  private static func contextLength(
    _ values: ConfigValues, _ architecture: Architecture
  ) throws(ModelError) -> Int {
    let count = try values.required("max_position_embeddings")
    guard architecture.isEncoder else { return count }
    let skipped = try architecture.skippedPositionCount(values)
    guard skipped < count else {
      throw ConfigValues.fault(
        "max_position_embeddings", "more than \(skipped), as pad_token_id states",
        JSONValue(count))
    }
    // Some models have rotary embeddings for more positions than they were trained for.
    let key = "max_trained_positions"
    let trained = architecture.defaults[key] == nil ? nil : try values.count(key)
    return min(count - skipped, trained ?? .max)
  }

  private mutating func read(
    _ key: Key, _ values: ConfigValues, _ architecture: Architecture, tokenCount: Int
  ) throws(ModelError) {
    switch key {
    case .vocabularySize: vocabularySize = tokenCount
    case .attentionSoftcap: attentionSoftcap = try values.number("attn_logit_softcapping")
    case .attentionClamp:
      attentionClamp = values["clip_qkv"] == nil ? nil : try values.positive("clip_qkv")
    case .finalSoftcap, .finalSoftcapOrZero:
      finalSoftcap = try values.number("final_logit_softcapping")
    case .slidingWindow, .slidingWindowOrZero: slidingWindow = try values.count("sliding_window")
    case .usedExpertCount:
      guard let keys = architecture.experts, let experts = sizes.experts else { return }
      let count = try values.withoutEqualLists(keys).required(keys.usedCount)
      guard count <= experts.count else {
        throw ConfigValues.fault(
          keys.usedCount, "at most the number of experts", JSONValue(count))
      }
      usedExpertCount = count
    case .expertGroups:
      expertGroupCount = try values.count("n_group")
      usedExpertGroupCount = try values.count("topk_group")
    case .activation: activation = values["hidden_activation"]?.string
    case .rmsEpsilonIfAny: rmsEpsilon = try values.number("rms_norm_eps")
    case .routerFunction:
      routersComputeSigmoids = values["expert_selection_fn"] == "sigmoid"
    case .deepstackCount:
      deepstackCount = values["vision_config"]?["deepstack_visual_indexes"]?.array?.count ?? 0
    case .rotatedCount, .slidingRotatedCount, .headCounts, .originalContextLength,
      .ropeAttentionFactor, .ropeSections, .slidingLayers,
      .everySlidingLayer, .slidingBase, .noRopeScaling, .expertCount, .expertWidth,
      .sharedExpertCount, .sharedExpertCountIfAny, .sharedExpertWidth, .leadingCount,
      .expertInterval, .oneExpertGroup,
      .predictionLayers, .sigmoidRouter, .latentAttention, .linearAttention, .ropeSectionsOfQwen,
      .predictionLayersIfAny, .queryGrowth, .yarnScaleOfAll, .shortConvolution,
      .stateSpace, .noRotation, .noExperts, .variedLayers, .alternatingUpdates:
      break
    }
  }

  /// Reads the hyperparameters that the metadata of a GGUF file states.
  ///
  /// The frequency factors of rotary embeddings are tensors in a GGUF file, and are not read.
  /// `tensors` are those of the file, if they are known: they show some sizes that the metadata does
  /// not state. Throws `malformed` for values that are missing or invalid.
  package init(
    _ metadata: Metadata, _ architecture: Architecture, tensors: [TensorInfo] = []
  ) throws(ModelError) {
    let values = GGUFValues(metadata, prefix: architecture.ggufName)
    sizes = try ModelSizes(values, architecture, tensors)
    guard sizes.layerCount <= ModelSizes.layerLimit else {
      throw ModelError(
        .limit, "the metadata states too many layers",
        tensor: "\(architecture.ggufName).block_count",
        expected: "at most \(ModelSizes.layerLimit)",
        found: "\(sizes.layerCount)")
    }
    contextLength = try values.required("context_length")
    normEpsilon = try values.requiredNumber(architecture.normEpsilon.ggufKey)
    rope = try RopeParameters(
      values, headSize: sizes.headSize, isLatent: architecture.hasLatentAttention)
    vocabularySize = try values.count("vocab_size")
    attentionSoftcap = values.number("attn_logit_softcapping")
    attentionClamp = values.number("attention.clamp_kqv")
    finalSoftcap = values.number("final_logit_softcapping")
    slidingWindow = values.wholeNumber("attention.sliding_window").flatMap { $0 == 0 ? nil : $0 }
    let usual = architecture.usualSlidingLayers(sizes.layerCount)
    slidingLayers = values.flags("attention.sliding_window_pattern").flatMap {
      $0 == usual ? nil : $0
    }
    isCausal = values.flag("attention.causal") ?? true
    if architecture.hyperparameters.contains(.activation) {
      activation = values.text("hidden_activation")
    }
    usedExpertCount = sizes.experts == nil ? nil : try values.count("expert_used_count")
    expertGroupCount = values.wholeNumber("expert_group_count")
    usedExpertGroupCount = values.wholeNumber("expert_group_used_count")
    deepstackCount = values.wholeNumber("n_deepstack_layers")
    for (_, key) in architecture.multipliers {
      multipliers.append(try values.requiredNumber(key))
    }
    for (_, key) in architecture.flags { flags.append(values.flag(key) ?? false) }
    if architecture.hyperparameters.contains(.expertGroups) {
      func count(_ key: String) -> Int? { values.wholeNumber(key).flatMap { $0 > 0 ? $0 : nil } }
      expertGroupCount = count("expert_group_count")
      usedExpertGroupCount = count("expert_group_used_count")
    }
    guard architecture.hyperparameters.contains(.rmsEpsilonIfAny) else { return }
    rmsEpsilon = values.number("attention.layer_norm_rms_epsilon")
    routersComputeSigmoids = values.wholeNumber("expert_gating_func") != 1
  }
}
