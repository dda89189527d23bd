package import Bytes
package import TensorModel

/// The `config.json` of a checkpoint, from the hyperparameters and the tensors of a GGUF file.
///
/// It states what the tables of the architecture read from a config, by the same keys.
package struct CheckpointConfig {
  /// The architecture that the config names.
  package let architecture: Architecture
  /// The hyperparameters.
  package let parameters: Hyperparameters

  /// What the tensors of a file say about its config.
  package struct Contents {
    /// The number of rows of the token embeddings.
    package var tokenCount: Int
    /// The names of all tensors.
    package var names: Set<String>
    /// The type of most weights, as transformers names it, such as `bfloat16`.
    package var dtype: String
    /// The divisors of rotary angles: `rope_freqs`, `rope_factors_long`, `rope_factors_short`.
    package var factors: [String: [Float]]
    /// The number of rows of token type embeddings; nil without such a tensor.
    package var tokenTypeCount: Int?
    /// The id of the token that pads texts, which is that of a row; nil if it is not known.
    package var paddingID: Int?

    package init(
      tokenCount: Int, names: Set<String>, dtype: String, factors: [String: [Float]]
    ) {
      self.tokenCount = tokenCount
      self.names = names
      self.dtype = dtype
      self.factors = factors
    }
  }

  /// Creates a config for hyperparameters of an architecture.
  package init(_ parameters: Hyperparameters, _ architecture: Architecture) {
    self.parameters = parameters
    self.architecture = architecture
  }

  /// The document.
  ///
  /// Throws `unsupported` for tensors and rotary embeddings that no config of the architecture
  /// describes.
  package func document(_ contents: Contents) throws(ModelError) -> JSONValue {
    var members: [JSONValue.Member] = []
    func write(_ key: String, _ value: JSONValue) { members.append(.init(key, value)) }
    write("architectures", .array([.string(architecture.className ?? "")]))
    write("model_type", .string(architecture.modelTypes[0]))
    write("vocab_size", JSONValue(contents.tokenCount))
    write("hidden_size", JSONValue(parameters.hiddenSize))
    write("num_hidden_layers", JSONValue(parameters.layerCount))
    if !architecture.hasNoAttention { members += headMembers(contents) }
    write(architecture.normEpsilon.key, .shortest(parameters.normEpsilon))
    write(activation.key, .string(activation.name))
    write("tie_word_embeddings", .bool(!contents.names.contains(TensorNames.ggufHead)))
    for (key, tensors) in architecture.traits.biasKeys {
      write(key, .bool(try hasBiases(tensors, key, contents)))
    }
    for optional in architecture.optionalNames
    where optional.isStated && parameters.latent == nil
      && optional.key != VariedLayers.inputWidthKey
    {
      // Arranged tensors have their names already.
      let names = optional.names.flatMap { pair in
        ["blk.0.\(pair.gguf).weight", architecture.layerName(0, pair.huggingFace + ".weight")]
      }
      write(optional.key, .bool(names.contains(where: contents.names.contains)))
    }
    let biases = architecture.traits.biasKeys.map(\.key)
    let others =
      architecture.flags.map(\.key) + biases
      + [architecture.normEpsilon.key, VariedLayers.inputWidthKey, activation.key]
    for limit in architecture.traits.limits where !others.contains(limit.key) {
      if let value = limit.usual { write(limit.key, value) }
    }
    members += expertMembers
    members += mixerMembers
    members += variedMembers(tokenCount: contents.tokenCount)
    members += embeddingMembers(contents)
    for (multiplier, value) in zip(architecture.multipliers, parameters.multipliers) {
      write(multiplier.key, .shortest(value))
    }
    for (flag, value) in zip(architecture.flags, parameters.flags) { write(flag.key, .bool(value)) }
    if let epsilon = parameters.rmsEpsilon { write("rms_norm_eps", .shortest(epsilon)) }
    if let sigmoids = parameters.routersComputeSigmoids {
      write("expert_selection_fn", sigmoids ? "sigmoid" : "softmax")
    }
    if let count = parameters.sizes.gateRowCount {
      write("gating", count == parameters.headCount ? "per-head" : "per-element")
    }
    members += attentionMembers
    members += try ropeMembers(contents)
    write("dtype", .string(contents.dtype))
    return architecture.withOwnKeys(.object(members))
  }

  /// The sizes of attention and of the network after it.
  private func headMembers(_ contents: Contents) -> [JSONValue.Member] {
    // Latent attention has keys and values for each head in transformers.
    let hasOwnHeads = parameters.latent == nil
    let width = JSONValue(parameters.feedForwardSize)
    let listsWidths = parameters.sizes.varied?.listsWidths ?? false
    let widths = JSONValue.array(Array(repeating: width, count: parameters.layerCount))
    var counts = [("num_attention_heads", parameters.headCount)]
    if !architecture.isEncoder {
      counts.append(
        (
          "num_key_value_heads", hasOwnHeads ? parameters.keyValueHeadCount : parameters.headCount
        ))
    }
    // A default of transformers may be another number.
    if !architecture.traits.headsFillWidth || architecture.defaults["head_dim"] != nil
      || architecture.isEncoder && parameters.statesHeadSize
    {
      counts.append(("head_dim", parameters.headSize))
    }
    counts.append(("max_position_embeddings", positionCount(contents)))
    return [.init(architecture.innerWidthKey, listsWidths ? widths : width)]
      + counts.map { .init($0, JSONValue($1)) }
  }

  /// Whether tensors have biases.
  ///
  /// Throws `unsupported` if only some of them have.
  private func hasBiases(
    _ tensors: Set<String>, _ key: String, _ contents: Contents
  ) throws(ModelError) -> Bool {
    // Networks without a gate have no such tensor.
    let stored = tensors.filter { contents.names.contains("blk.0.\($0).weight") }
    let found = stored.filter { contents.names.contains("blk.0.\($0).bias") }
    guard found.isEmpty || found == stored else {
      throw ModelError(
        .unsupported,
        "no config of \(architecture.modelTypes[0]) has biases of these tensors alone",
        tensor: key, expected: "biases of \(stored.sorted().joined(separator: ", ")), or none",
        found: found.sorted().joined(separator: ", "))
    }
    return !found.isEmpty
  }

  private var expertMembers: [JSONValue.Member] {
    guard let keys = architecture.experts, let experts = parameters.experts else { return [] }
    var members = keys.counts.map { JSONValue.Member($0, JSONValue(experts.count)) }
    func write(_ key: String?, _ count: Int?) {
      guard let key, let count, key != architecture.innerWidthKey,
        !members.contains(where: { $0.key == key })
      else { return }
      members.append(.init(key, JSONValue(count)))
    }
    write(keys.usedCount, parameters.usedExpertCount)
    write(keys.width, experts.width)
    write(keys.sharedCount, experts.sharedCount)
    write(keys.sharedWidth, experts.sharedWidth)
    write(keys.leadingCount, experts.leadingCount)
    write(keys.interval, experts.interval)
    if architecture.hyperparameters.contains(.expertGroups) {
      write("n_group", parameters.expertGroupCount)
      write("topk_group", parameters.usedExpertGroupCount)
    }
    if let key = keys.layerKinds {
      let kinds = (0..<parameters.layerCount).map { layer in
        JSONValue.string(layer < experts.leadingCount ? "dense" : "sparse")
      }
      members.append(.init(key, .array(kinds)))
    }
    return members
  }

  private var attentionMembers: [JSONValue.Member] {
    var members: [JSONValue.Member] = []
    if !parameters.isCausal, !architecture.isEncoder {
      members.append(.init("is_causal", false))
    }
    if let cap = parameters.attentionSoftcap {
      members.append(.init("attn_logit_softcapping", .shortest(cap)))
    }
    if let limit = parameters.attentionClamp {
      members.append(.init("clip_qkv", .shortest(limit)))
    }
    if parameters.finalSoftcap == 0 {
      // llama.cpp has 0 for none; transformers would divide by it.
      members.append(.init("final_logit_softcapping", .null))
    } else if let cap = parameters.finalSoftcap {
      members.append(.init("final_logit_softcapping", .shortest(cap)))
    }
    let traits = architecture.traits
    if traits.scalesQueries {
      let isByWidth = traits.widthScaledLayerCount == parameters.layerCount
      let scale =
        isByWidth ? parameters.hiddenSize / parameters.headCount : parameters.headSize
      members.append(.init("query_pre_attn_scalar", JSONValue(scale)))
    }
    let window = parameters.slidingWindow.map { JSONValue($0) } ?? .null
    switch traits.sliding {
    case .none: break
    case .unsupported: members.append(.init("use_sliding_window", false))
    case .ignored: members.append(.init("sliding_window", window))
    case .alternating, .alternatingAfterFirst:
      let usual = architecture.usualSlidingLayers(parameters.layerCount) ?? []
      let layers = parameters.slidingLayers ?? usual
      members.append(.init("sliding_window", window))
      members.append(
        .init(
          "layer_types",
          .array(
            layers.map { slides in
              slides && window != .null ? "sliding_attention" : "full_attention"
            })))
    }
    if parameters.predictionLayerCount > 0 {
      members.append(
        .init("num_nextn_predict_layers", JSONValue(parameters.predictionLayerCount)))
    }
    return members
  }

  // MARK: - Rotary embeddings

  private func ropeMembers(_ contents: Contents) throws(ModelError) -> [JSONValue.Member] {
    let rope = parameters.rope
    let rotatesNothing =
      architecture.hasNoAttention || architecture.hasPositionTable
      || architecture.hyperparameters.contains(.noRotation)
    if rotatesNothing, rope.base == nil { return [] }
    var members = [
      JSONValue.Member("rope_theta", .shortest(rope.base ?? RopeParameters.defaultBase))
    ]
    if architecture.traits.rotatesPartly {
      members.append(.init(RopeParameters.rotatedPartKey, rotatedPart(rope.rotatedCount)))
    }
    let local = "rope_local_base_freq"
    if let base = rope.slidingBase.map(JSONValue.shortest) ?? architecture.defaults[local],
      architecture.defaults[local] != nil
    {
      members.append(.init(local, base))
    }
    if architecture.hyperparameters.contains(.originalContextLength) {
      let length = rope.originalContextLength ?? parameters.contextLength
      members.append(.init("original_max_position_embeddings", JSONValue(length)))
    }
    var scaling = try scaling(contents)
    if architecture.hyperparameters.contains(.queryGrowth) { scaling = growing(scaling) }
    if architecture.hyperparameters.contains(.ropeSectionsOfQwen) {
      return [.init("rope_parameters", withSections(members))]
    }
    let statesByKind =
      architecture.statesRopeByKind || architecture.traits.ropeScalings == [.proportional]
    if statesByKind {
      return [.init("rope_parameters", byKind(members[0].value, scaling))]
    }
    guard let scaling else { return members }
    return members + [.init("rope_scaling", scaling)]
  }

  /// The parameters for each kind of layer, with the base of those with full attention.
  private func byKind(_ base: JSONValue, _ scaling: JSONValue?) -> JSONValue {
    let rope = parameters.rope
    func members(_ base: JSONValue, _ scaling: JSONValue?, rotated count: Int) -> JSONValue {
      let all = (scaling ?? ["rope_type": "default"]).setting("rope_theta", to: base)
      guard architecture.traits.rotatesPartly else { return all }
      return all.setting(RopeParameters.rotatedPartKey, to: rotatedPart(count))
    }
    let sliding = rope.slidingBase.map(JSONValue.shortest) ?? base
    return [
      "full_attention": members(base, scaling, rotated: rope.rotatedCount),
      "sliding_attention": members(
        sliding, nil, rotated: rope.slidingRotatedCount ?? parameters.headSize),
    ]
  }

  /// The part of a head that so many numbers are.
  private func rotatedPart(_ count: Int) -> JSONValue {
    .number(Double(count) / Double(parameters.headSize))
  }

  /// The scaling with the growth of queries, which transformers needs even if it is 0.
  private func growing(_ scaling: JSONValue?) -> JSONValue {
    let rope = parameters.rope
    let length = rope.originalContextLength ?? parameters.contextLength
    return (scaling ?? ["rope_type": "default"])
      .setting(RopeParameters.queryGrowthKey, to: .shortest(rope.queryGrowth ?? 0))
      .setting("original_max_position_embeddings", to: JSONValue(length))
  }

  private func scaling(_ contents: Contents) throws(ModelError) -> JSONValue? {
    switch parameters.rope.scaling {
    case .linear(let factor): return ["rope_type": "linear", "factor": .shortest(factor)]
    case .yarn(let yarn): return self.scaling(yarn)
    default: break
    }
    if let long = contents.factors["rope_factors_long"],
      let short = contents.factors["rope_factors_short"]
    {
      var members: [JSONValue.Member] = [
        .init("rope_type", "longrope"), .init("long_factor", .numbers(long)),
        .init("short_factor", .numbers(short)),
      ]
      if let factor = parameters.rope.attentionFactor {
        members.append(.init("attention_factor", .shortest(factor)))
      }
      return .object(members)
    }
    guard let factors = contents.factors["rope_freqs"] else { return nil }
    if architecture.traits.ropeScalings == [.proportional], let part = proportion(factors) {
      return [
        "rope_type": "proportional", RopeParameters.rotatedPartKey: .number(part),
      ]
    }
    guard let found = llama3(factors) else {
      throw ModelError(
        .unsupported, "the factors of rotary embeddings follow from no config that Pleat knows",
        tensor: "rope_freqs.weight", expected: "factors of Llama 3.1",
        found: "\(factors.count) numbers up to \(factors.max() ?? 0)")
    }
    return [
      "rope_type": "llama3", "factor": .shortest(Double(found.factor)),
      "low_freq_factor": .shortest(Double(found.lowFrequencyFactor)),
      "high_freq_factor": .shortest(Double(found.highFrequencyFactor)),
      "original_max_position_embeddings": JSONValue(found.originalContextLength),
    ]
  }

  private func scaling(_ yarn: RopeParameters.Yarn) -> JSONValue {
    var members: [JSONValue.Member] = [
      .init("rope_type", "yarn"), .init("factor", .shortest(yarn.factor)),
    ]
    if let length = parameters.rope.originalContextLength {
      members.append(.init("original_max_position_embeddings", JSONValue(length)))
    }
    let isLatent = architecture.hasLatentAttention
    for (key, value) in [
      ("attention_factor", isLatent ? nil : yarn.attentionFactor),
      ("mscale", isLatent ? yarn.scaleOfAll : nil), ("beta_fast", yarn.betaFast),
      ("beta_slow", yarn.betaSlow), ("mscale_all_dim", yarn.scaleOfAll),
    ] {
      if let value { members.append(.init(key, .shortest(value))) }
    }
    return .object(members)
  }

  /// The part of a head that is rotated if the angles of the first pairs alone are kept; nil for
  /// other divisors.
  private func proportion(_ factors: [Float]) -> Double? {
    let count = factors.prefix { $0 == 1 }.count
    guard factors.dropFirst(count).allSatisfy({ $0 == 1e30 }), !factors.isEmpty else { return nil }
    return Double(count) / Double(factors.count)
  }

  /// The parameters of Llama 3.1 with these factors; nil if there are none.
  ///
  /// All published models have the limits 1 and 4, and a power of two as original length. Converters
  /// compute the factors in float32, in different orders.
  private func llama3(_ factors: [Float]) -> RopeParameters.Llama3? {
    let headSize = parameters.rope.rotatedCount
    guard let largest = factors.max(), largest > 1, headSize == 2 * factors.count else {
      return nil
    }
    for exponent in 4...22 {
      let scaling = RopeParameters.Llama3(
        factor: largest, lowFrequencyFactor: 1, highFrequencyFactor: 4,
        originalContextLength: 1 << exponent)
      let computed = parameters.rope.factors(scaling, headSize)
      if zip(computed, factors).allSatisfy({ abs($0 - $1) <= 1e-5 * $1 }) { return scaling }
    }
    return nil
  }
}

extension JSONValue {
  /// A number of 32 bits, with as few digits as tell it from its neighbors.
  static func shortest(_ number: Double) -> JSONValue {
    .number(Double("\(Float(number))") ?? number)
  }

  fileprivate static func numbers(_ numbers: [Float]) -> JSONValue {
    .array(numbers.map { .shortest(Double($0)) })
  }
}
