internal import Bytes
internal import TensorModel

extension RopeParameters {
  /// Reads the parameters that a config states.
  ///
  /// They are in an object of their own, in an object for each kind of layer, or among the other
  /// values of the config.
  ///
  /// - Parameters:
  ///   - config: The config.
  ///   - headSize: The number of rows of a head.
  ///   - contextLength: The context length of the model.
  ///   - traits: What llama.cpp computes for the architecture.
  /// - Throws: `malformed` for values that are missing or invalid, and for a scaling without its
  ///   type; `unsupported` for a scaling of sliding layers.
  init(
    _ config: ConfigValues, headSize: Int, contextLength: Int, _ traits: RuntimeTraits
  ) throws(ModelError) {
    for key in ["rope_scaling", "rope_parameters"] {
      if let value = config[key], value.members == nil {
        throw ConfigValues.fault(key, "an object", value)
      }
    }
    let (key, all) = Self.object(in: config.config)
    let values = ConfigValues(config: (all["full_attention"] ?? all).withoutNulls)
    let stated = (values["rope_theta"] ?? config["rope_theta"])?.double
    if let stated, !(stated > 1 && stated.isFinite) {
      throw ConfigValues.fault("rope_theta", "a number above 1", nil)
    }
    slidingBase =
      (all["sliding_attention"]?["rope_theta"] ?? config["rope_local_base_freq"])?.double
    let part = values[Self.rotatedPartKey] ?? config[Self.rotatedPartKey]
    let partCount = try Self.rotatedCount(part, headSize: headSize)
    slidingRotatedCount = try all["sliding_attention"]?[Self.rotatedPartKey].map {
      value throws(ModelError) in try Self.rotatedCount(value, headSize: headSize)
    }
    var type = try Self.type(values, in: key)
    sections = all["mrope_section"]?.array?.compactMap(\.int)
    let isProportional = type == Kind.proportional.rawValue
    rotatedCount = isProportional ? headSize : partCount
    queryGrowth = try values.number(Self.queryGrowthKey)
    // Text has the same position in all sections.
    if type == "mrope" { type = nil }
    // HunYuan states how much the base grows, whatever the length of a text.
    let growth = type == Kind.dynamic.rawValue ? try values.number("alpha") : nil
    if growth != nil { type = nil }
    base = growth.map { Self.grown(stated ?? Self.defaultBase, by: $0, headSize) } ?? stated
    try Self.checkSliding(all["sliding_attention"])
    let original = "original_max_position_embeddings"
    let known = (values[original] ?? config[original])?.int
    if type == "su" { type = Kind.longrope.rawValue }
    // Phi 3 has only longrope. Transformers reads the original length beside the object there.
    let isPhi = traits.ropeScalings == [.longrope]
    if isPhi, type == Kind.yarn.rawValue { type = Kind.longrope.rawValue }
    let length = (isPhi ? config[original]?.int : nil) ?? known ?? contextLength
    var scaling = try Self.scaling(type, values, length, pairCount: rotatedCount / 2)
    if traits.roundsYarnLimits, case .yarn(var yarn) = scaling {
      yarn.truncates = true
      scaling = .yarn(yarn)
    }
    if isProportional { scaling = .proportional(part: part?.double ?? 1) }
    self.scaling = scaling
    let needsLength = [.yarn, .longrope].contains(scaling.kind)
    originalContextLength = needsLength ? length : known
    guard case .longrope = scaling else { return }
    attentionFactor = try Self.attentionFactor(values, contextLength, originalCount: length)
  }

  /// The key of a config for the part of a head that is rotated.
  static let rotatedPartKey = "partial_rotary_factor"

  /// The key of a config for `queryGrowth`.
  static let queryGrowthKey = "llama_4_scaling_beta"

  // The formula is that of HunYuanDenseV1RotaryEmbedding in transformers.
  private static func grown(_ base: Double, by alpha: Double, _ headSize: Int) -> Double {
    base * Platform.power(alpha, Double(headSize) / Double(max(headSize - 2, 1)))
  }

  /// The object of the parameters in a config, and its key; null if there is none.
  ///
  /// As in transformers, `rope_scaling` of older configs comes before `rope_parameters`. If these
  /// have an object for each kind of layer, it changes that of full attention.
  static func object(in config: JSONValue) -> (key: String, value: JSONValue) {
    let parameters = config["rope_parameters"] ?? .null
    guard let scaling = config["rope_scaling"], !(scaling.members ?? []).isEmpty else {
      return ("rope_parameters", parameters)
    }
    guard let full = parameters["full_attention"] else { return ("rope_scaling", scaling) }
    let changed = full.overridden(by: scaling)
    return ("rope_scaling", parameters.setting("full_attention", to: changed))
  }

  private static func rotatedCount(_ value: JSONValue?, headSize: Int) throws(ModelError) -> Int {
    guard let part = value?.double else { return headSize }
    guard (0...1).contains(part) else {
      throw ConfigValues.fault(rotatedPartKey, "0 to 1", value)
    }
    return Int(part * Double(headSize))
  }

  /// The keys that state how angles are scaled, each with a type that has it.
  private static let scalingKeys = [
    ("low_freq_factor", Kind.llama3), ("high_freq_factor", .llama3), ("long_factor", .longrope),
    ("short_factor", .longrope), ("beta_fast", .yarn), ("beta_slow", .yarn),
    ("attention_factor", .yarn), ("mscale", .yarn), ("mscale_all_dim", .yarn), ("factor", .linear),
  ]

  /// The type of the scaling in lower case; nil if angles are not scaled.
  ///
  /// Programs disagree about a scaling without a type: some ignore it, others refuse it.
  private static func type(_ values: ConfigValues, in key: String) throws(ModelError) -> String? {
    if let type = (values["rope_type"] ?? values["type"])?.string { return type.lowercased() }
    let stated = scalingKeys.filter { values[$0.0] != nil }
    guard let first = stated.first, first.0 != "factor" || values["factor"]?.double != 1 else {
      return nil
    }
    let guess = first.0 == "factor" ? "linear, dynamic or yarn" : first.1.rawValue
    throw ModelError(
      .malformed, "config.json scales rotary embeddings, but does not state how", tensor: key,
      expected: "rope_type", found: stated.map(\.0).joined(separator: ", "),
      hint: "add rope_type to \(key), probably \(guess)")
  }

  // llama.cpp has one scaling for all layers and applies none to sliding ones.
  private static func checkSliding(_ values: JSONValue?) throws(ModelError) {
    guard let type = (values?["rope_type"] ?? values?["type"])?.string, type != "default" else {
      return
    }
    throw ModelError(
      .unsupported, "llama.cpp does not scale the rotary embeddings of sliding layers",
      tensor: "sliding_attention", expected: "rope_type default", found: type)
  }

  private static func scaling(
    _ type: String?, _ values: ConfigValues, _ originalLength: Int, pairCount: Int
  ) throws(ModelError) -> Scaling {
    guard let type, type != "default" else { return .none }
    switch Kind(rawValue: type) {
    case nil: return .unknown(type)
    case .proportional: return .none
    case .linear: return .linear(factor: try values.positive("factor"))
    case .dynamic: return .dynamic
    case .yarn: return .yarn(try Yarn(values))
    case .llama3:
      let scaling = Llama3(
        factor: Float(try values.positive("factor")),
        lowFrequencyFactor: Float(try values.positive("low_freq_factor")),
        highFrequencyFactor: Float(try values.positive("high_freq_factor")),
        originalContextLength: originalLength)
      guard scaling.highFrequencyFactor > scaling.lowFrequencyFactor else {
        throw ConfigValues.fault(
          "high_freq_factor", "more than low_freq_factor", values["high_freq_factor"])
      }
      return .llama3(scaling)
    case .longrope:
      func factors(_ key: String) throws(ModelError) -> [Float] {
        let found = (values[key]?.array ?? []).compactMap(\.double)
        if found.count == pairCount { return found.map { Float($0) } }
        throw ConfigValues.fault(key, "\(pairCount) numbers", values[key])
      }
      return .longrope(
        ContextFactors(long: try factors("long_factor"), short: try factors("short_factor")))
    }
  }

  // The formula is that of `_compute_longrope_parameters` in transformers.
  private static func attentionFactor(
    _ values: ConfigValues, _ contextLength: Int, originalCount: Int
  ) throws(ModelError) -> Double {
    if let stated = try values.number("attention_factor") { return stated }
    let stretch =
      try values.number("factor") ?? Double(contextLength) / Double(max(originalCount, 1))
    guard stretch > 1, originalCount > 1 else { return 1 }
    return (1 + Platform.logarithm(stretch) / Platform.logarithm(Double(originalCount)))
      .squareRoot()
  }

  /// Reads the parameters that the metadata of a GGUF file states.
  ///
  /// `isLatent` is whether it has latent attention. Throws `malformed` for values that are missing or
  /// invalid.
  init(_ values: GGUFValues, headSize: Int, isLatent: Bool) throws(ModelError) {
    base = values.number("rope.freq_base")
    slidingBase = values.number("rope.freq_base_swa")
    rotatedCount = values.wholeNumber("rope.dimension_count") ?? headSize
    slidingRotatedCount = values.wholeNumber("rope.dimension_count_swa")
    originalContextLength = values.wholeNumber("rope.scaling.original_context_length")
    attentionFactor = values.number("rope.scaling.attn_factor")
    sections = values.numbers("rope.dimension_sections")
    queryGrowth = values.number("attention.temperature_scale")
    switch values.text("rope.scaling.type") {
    case nil, "none", "longrope": scaling = .none
    case "linear":
      scaling = .linear(factor: try values.requiredNumber("rope.scaling.factor"))
    case "yarn" where isLatent: scaling = .yarn(try Yarn(latent: values))
    case "yarn":
      scaling = .yarn(try Yarn(values, attentionFactor: attentionFactor))
    case let other?: scaling = .unknown(other)
    }
  }
}

extension RopeParameters.Yarn {
  /// Reads the parameters that a config states.
  ///
  /// Throws `malformed` for values that are missing or invalid.
  init(_ values: ConfigValues) throws(ModelError) {
    factor = try values.positive("factor")
    extrapolationFactor = try values.number("extrapolation_factor")
    // Transformers treats 0 as if the value were missing.
    func nonzero(_ key: String) throws(ModelError) -> Double? {
      try values.number(key).flatMap { $0 == 0 ? nil : $0 }
    }
    betaFast = try nonzero("beta_fast")
    betaSlow = try nonzero("beta_slow")
    truncates = values["truncate"]?.bool ?? true
    attentionFactor = try values.number("attention_factor")
    scaleOfAll = try nonzero("mscale_all_dim")
    guard attentionFactor == nil, let scale = try nonzero("mscale"), let scaleOfAll else { return }
    attentionFactor =
      Self.attention(factor, scale: scale) / Self.attention(factor, scale: scaleOfAll)
  }

  /// Reads the parameters that the metadata of a model with latent attention states.
  ///
  /// `mscale` equals `mscale_all_dim` there, and a tenth of it is stored. Throws `malformed` if the
  /// file lacks the factor of the extension.
  init(latent values: GGUFValues) throws(ModelError) {
    try self.init(values, attentionFactor: nil)
    scaleOfAll = values.number("rope.scaling.yarn_log_multiplier").map { number in
      let scale = 10 * number
      return Double("\(Float(scale))") ?? scale
    }
    attentionFactor = scaleOfAll == nil ? nil : 1
  }

  /// Reads the parameters that the metadata of a GGUF file states.
  ///
  /// `attentionFactor` is relative to the one that llama.cpp computes; nil for the same. Throws
  /// `malformed` if the file lacks the factor of the extension.
  init(_ values: GGUFValues, attentionFactor: Double?) throws(ModelError) {
    let factor = try values.requiredNumber("rope.scaling.factor")
    let scale = values.number("rope.scaling.yarn_log_multiplier").flatMap { $0 == 0 ? nil : $0 }
    let computed = Self.attention(factor, scale: 1) / Self.attention(factor, scale: scale ?? 0)
    let isStated = attentionFactor != nil || scale != nil
    self.init(
      factor: factor, extrapolationFactor: values.number("rope.scaling.yarn_ext_factor"),
      attentionFactor: isStated ? (attentionFactor ?? 1) * computed : nil,
      betaFast: values.number("rope.scaling.yarn_beta_fast"),
      betaSlow: values.number("rope.scaling.yarn_beta_slow"), scaleOfAll: scale)
  }
}
