package import Bytes
package import TensorModel

/// Configs that ask for something that llama.cpp does not compute.
extension Architecture {
  /// Checks that llama.cpp computes what a config describes.
  ///
  /// - Parameters:
  ///   - config: The config of the text model.
  ///   - parameters: Its hyperparameters.
  /// - Returns: Notes about differences that do not matter for all uses.
  /// - Throws: `unsupported` with the key of the config, for anything else.
  package func checkExpressible(
    _ config: JSONValue, _ parameters: Hyperparameters
  ) throws(ModelError) -> [String] {
    let values = ConfigValues(config: config)
    try checkLimits(config, of: .llamaCpp)
    try checkHeads(values, parameters)
    try checkSharing(parameters)
    try checkCaps(config)
    try checkBiases(values)
    var notes = try [checkActivation(values), traits.note(config)].compactMap { $0 }
    if let note = try checkSliding(config, parameters) { notes.append(note) }
    if let note = try checkRope(parameters) { notes.append(note) }
    if traits.roundsYarnLimits, RopeParameters.object(in: config).value["truncate"] == false {
      notes.append(
        "llama.cpp rounds the limits of YaRN, which config.json asks not to do: long texts get "
          + "slightly other angles")
    }
    return notes
  }

  /// Checks that a runtime computes what a config describes, as far as the tables say for all
  /// runtimes.
  ///
  /// Throws `unsupported` with the key of the config.
  package func checkLimits(_ config: JSONValue, of runtime: LimitedRuntime) throws(ModelError) {
    let values = ConfigValues(config: config)
    if variedLayers?.hasFullHeads != true, let layers = values["per_layer_config"]?.members,
      !layers.isEmpty
    {
      throw runtime.refusal(
        "per_layer_config", "the same config for all layers", "\(layers.count) others",
        modelType: modelTypes[0])
    }
    let bidirectional = values["use_bidirectional_attention"] ?? false
    guard bidirectional == false || traits.bidirectionalKinds.contains(bidirectional) else {
      throw runtime.refusal(
        "use_bidirectional_attention", "false", JSONWriter.text(bidirectional),
        modelType: modelTypes[0])
    }
    for limit in traits.tensorLimits + traits.limits {
      try limit.check(config, modelType: modelTypes[0], runtime: runtime)
    }
  }

  /// Whether the tables have all tensors of a model with a config.
  package func describesTensors(of config: JSONValue) -> Bool {
    traits.tensorLimits.allSatisfy { $0.accepts(config) }
  }

  private func refusal(_ key: String, _ expected: String, _ found: String) -> ModelError {
    LimitedRuntime.llamaCpp.refusal(key, expected, found, modelType: modelTypes[0])
  }

  private func checkHeads(
    _ values: ConfigValues, _ parameters: Hyperparameters
  ) throws(ModelError) {
    let width = parameters.headCount * parameters.headSize
    if traits.headsFillWidth, width != parameters.hiddenSize {
      throw refusal(
        "head_dim",
        "hidden_size / num_attention_heads, which is "
          + "\(parameters.hiddenSize / parameters.headCount)", "\(parameters.headSize)")
    }
    guard traits.scalesQueries else { return }
    // The default of transformers.
    let stated = try values.number("query_pre_attn_scalar") ?? 256
    let isByWidth = traits.widthScaledLayerCount == parameters.layerCount
    let computed =
      isByWidth ? parameters.hiddenSize / parameters.headCount : parameters.headSize
    guard stated != Double(computed) else { return }
    throw refusal(
      "query_pre_attn_scalar",
      "\(computed), \(isByWidth ? "hidden_size / num_attention_heads" : "head_dim")", "\(stated)")
  }

  /// Throws `unsupported` if the last layers do not use the keys and values of the layers that
  /// llama.cpp takes them from.
  ///
  /// Those are the last two layers before them: one with sliding attention, then one with full
  /// attention.
  private func checkSharing(_ parameters: Hyperparameters) throws(ModelError) {
    guard let varied = parameters.varied, varied.sharedCount > 0 else { return }
    let count = varied.ownCount
    let (layers, others) = (varied.slidingLayers[..<count], varied.slidingLayers[count...])
    let hasSources =
      count >= 2 && (!others.contains(false) || layers.last == false)
      && (!others.contains(true) || layers.suffix(2) == [true, false])
    guard !hasSources else { return }
    throw refusal(
      "num_kv_shared_layers", "sliding_attention and full_attention in the two layers before",
      "\(varied.sharedCount), after layer \(count - 1)")
  }

  private func checkCaps(_ config: JSONValue) throws(ModelError) {
    guard traits.alwaysCaps else { return }
    for key in ["attn_logit_softcapping", "final_logit_softcapping"] where config[key] == .null {
      throw refusal(key, "a number", "null")
    }
  }

  private func checkBiases(_ values: ConfigValues) throws(ModelError) {
    for (key, tensors) in traits.biasKeys where values[key]?.bool == true {
      guard !tensors.isSubset(of: traits.biases) else { continue }
      throw refusal(key, "false", "true")
    }
  }

  private func checkActivation(_ values: ConfigValues) throws(ModelError) -> String? {
    let activation = traits.activation
    guard let name = values[activation.key]?.string, name != activation.name,
      !activation.synonyms.contains(name)
    else { return nil }
    guard activation.isUnreliable else {
      throw refusal(activation.key, activation.name, name)
    }
    return "config.json states \(activation.key) \(name), but llama.cpp computes "
      + "\(activation.name) for \(modelTypes[0])"
  }

  private func checkRope(_ parameters: Hyperparameters) throws(ModelError) -> String? {
    let rope = parameters.rope
    if rope.rotatedCount != parameters.headSize, !traits.rotatesPartly {
      throw refusal(
        "partial_rotary_factor", "1", "\(rope.rotatedCount) of \(parameters.headSize) rotated")
    }
    if let count = rope.slidingRotatedCount, count != rope.rotatedCount,
      !hyperparameters.contains(.slidingRotatedCount)
    {
      throw refusal(
        RopeParameters.rotatedPartKey, "\(rope.rotatedCount) of \(parameters.headSize) rotated",
        "\(count) in layers with sliding attention")
    }
    if case .unknown(let name) = rope.scaling { throw scalingRefusal(name) }
    guard let kind = rope.scaling.kind else { return nil }
    guard traits.ropeScalings.contains(kind) else { throw scalingRefusal(kind.rawValue) }
    if case .yarn(let yarn) = rope.scaling {
      if !yarn.hasDefaultLimits, !traits.ropeScalings.contains(.llama3) {
        throw refusal(
          "rope_scaling", "YaRN with beta_fast 32, beta_slow 1 and truncate true", "other values")
      }
      // The factor would also apply to sliding layers.
      if rope.slidingBase != nil, yarn.relativeAttentionFactor != 1 {
        throw refusal("attention_factor", "none", "\(yarn.attentionFactor ?? 1)")
      }
    }
    guard kind == .dynamic else { return nil }
    return "llama.cpp does not scale rotary embeddings dynamically: it computes the same up to "
      + "\(parameters.contextLength) tokens only"
  }

  private func scalingRefusal(_ found: String) -> ModelError {
    let known = RopeParameters.Kind.allCases.filter(traits.ropeScalings.contains).map(\.rawValue)
    return ModelError(
      .unsupported, "llama.cpp does not scale rotary embeddings this way for \(modelTypes[0])",
      tensor: "rope_scaling", expected: (known + ["default"]).joined(separator: ", "), found: found,
      hint: LimitedRuntime.llamaCpp.hint)
  }

  private func checkSliding(
    _ config: JSONValue, _ parameters: Hyperparameters
  ) throws(ModelError) -> String? {
    let values = ConfigValues(config: config)
    let defaultWindow: Int?
    switch traits.sliding {
    case .none, .alternating, .alternatingAfterFirst: return nil
    case .ignored(let window): defaultWindow = window
    case .unsupported:
      guard values["use_sliding_window"]?.bool == true else { return nil }
      let hasSlidingLayers =
        values["layer_types"]?.array?.contains("sliding_attention")
        ?? ((values["max_window_layers"]?.int ?? 28) < parameters.layerCount)
      guard hasSlidingLayers else { return nil }
      defaultWindow = 4096
    }
    // The defaults are those of transformers. Null means that there is no window.
    let isStated = config["sliding_window"] != nil
    guard let window = try isStated ? values.count("sliding_window") : defaultWindow,
      window < parameters.contextLength
    else { return nil }
    if case .unsupported = traits.sliding { throw refusal("use_sliding_window", "false", "true") }
    return "llama.cpp has no sliding attention for \(modelTypes[0]): it computes the same up to "
      + "\(window) tokens only"
  }
}
