internal import Bytes
internal import TensorModel

/// The parameters of rotary embeddings: by which angles pairs of numbers in a head are rotated.
package struct RopeParameters: Sendable, Hashable {
  /// The base of the angles, `rope_theta`; nil if the source leaves it to the architecture.
  package let base: Double?
  /// The base in layers with sliding attention; nil if all layers have the same base.
  package let slidingBase: Double?
  /// The number of elements of a head that are rotated.
  package let rotatedCount: Int
  /// How angles are scaled to reach longer contexts.
  package let scaling: Scaling
  /// The divisors for long and for short contexts, as in Phi 3; nil if there are none.
  package private(set) var contextFactors: ContextFactors?
  /// The context length before the context was extended; nil if it is not known.
  package let originalContextLength: Int?
  /// The factor of attention in an extended context; nil for 1, or if it is not stated.
  package private(set) var attentionFactor: Double?

  /// A way to scale angles.
  package enum Scaling: Sendable, Hashable {
    /// Angles are not scaled, or only by `contextFactors`.
    case none
    /// Every angle is divided by a factor.
    case linear(factor: Double)
    /// YaRN (arXiv 2309.00071).
    case yarn(Yarn)
    /// Long waves are stretched, short ones are not, and those between are interpolated (Llama 3.1).
    case llama3(Llama3)
    /// A kind that Pleat does not know.
    case unknown(String)
  }

  /// The parameters of YaRN.
  package struct Yarn: Sendable, Hashable {
    /// The factor by which the context is extended.
    package var factor: Double
    /// `extrapolation_factor`; nil for the default, as for the numbers below.
    package var extrapolationFactor: Double?
    /// `attention_factor`.
    package var attentionFactor: Double?
    /// `beta_fast`.
    package var betaFast: Double?
    /// `beta_slow`.
    package var betaSlow: Double?
  }

  /// The parameters of Llama 3.1.
  package struct Llama3: Sendable, Hashable {
    /// The factor by which long waves are stretched.
    package var factor: Float
    /// Waves longer than the original context divided by this are stretched.
    package var lowFrequencyFactor: Float
    /// Waves shorter than the original context divided by this are not stretched.
    package var highFrequencyFactor: Float
    /// The context length before the context was extended.
    package var originalContextLength: Int
  }

  /// The divisors of rotary angles, one for each pair of numbers in a head.
  package struct ContextFactors: Sendable, Hashable {
    /// For contexts longer than the original one.
    package var long: [Float]
    /// For other contexts.
    package var short: [Float]
  }

  /// The divisor of the rotary angle of each pair of numbers in a head; nil if all are 1.
  ///
  /// The formula is that of `_compute_llama3_parameters` in transformers, in float32 as there.
  package func frequencyFactors(headSize: Int) -> [Float]? {
    guard case .llama3(let scaling) = scaling else { return nil }
    let positions = Float(scaling.originalContextLength)
    let (low, high) = (scaling.lowFrequencyFactor, scaling.highFrequencyFactor)
    return stride(from: 0, to: headSize, by: 2).map { index in
      let angle = 1 / Platform.power(Float(base ?? 10000), Float(index) / Float(headSize))
      let wave = 2 * Float.pi / angle
      if wave < positions / high { return 1 }
      if wave > positions / low { return scaling.factor }
      let smooth = (positions / wave - low) / (high - low)
      return 1 / ((1 - smooth) / scaling.factor + smooth)
    }
  }
}

// MARK: - Reading

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
  ///   - scalesAttention: Whether the architecture computes `attentionFactor` from other parameters.
  /// - Throws: `malformed` for values that are missing or invalid, `unsupported` for a scaling
  ///   without a known attention factor.
  init(
    _ config: ConfigValues, headSize: Int, contextLength: Int, scalesAttention: Bool
  ) throws(ModelError) {
    let all = config["rope_parameters"] ?? config["rope_scaling"] ?? .null
    guard all == .null || all.members != nil else {
      throw ConfigValues.fault("rope_parameters", "an object", all)
    }
    let values = all["full_attention"] ?? all
    base = (values["rope_theta"] ?? config["rope_theta"])?.double
    slidingBase =
      (all["sliding_attention"]?["rope_theta"] ?? config["rope_local_base_freq"])?.double
    originalContextLength =
      (values["original_max_position_embeddings"] ?? config["original_max_position_embeddings"])?
      .int
    rotatedCount = try Self.rotatedCount(
      values["partial_rotary_factor"] ?? config["partial_rotary_factor"], headSize: headSize)
    let type = (values["rope_type"] ?? values["type"])?.string?.lowercased()
    scaling = try Self.scaling(type, values, originalContextLength)
    contextFactors = try Self.contextFactors(values, pairCount: rotatedCount / 2)
    guard scalesAttention, contextFactors != nil else { return }
    let original = originalContextLength ?? contextLength
    attentionFactor = try Self.attentionFactor(
      type, stretch: Double(contextLength) / Double(original), originalCount: original)
  }

  private static func rotatedCount(_ value: JSONValue?, headSize: Int) throws(ModelError) -> Int {
    guard let part = value?.double else { return headSize }
    guard (0...1).contains(part) else {
      throw ConfigValues.fault("partial_rotary_factor", "0 to 1", value)
    }
    return Int(part * Double(headSize))
  }

  private static func scaling(
    _ type: String?, _ values: JSONValue, _ originalContextLength: Int?
  ) throws(ModelError) -> Scaling {
    switch type {
    case nil, "default", "dynamic", "su", "longrope": return .none
    case "linear": return .linear(factor: try number("factor", values))
    case "yarn":
      let factor = try number("factor", values)
      guard originalContextLength != nil else {
        throw ConfigValues.fault("original_max_position_embeddings", "a whole number", nil)
      }
      return .yarn(
        Yarn(
          factor: factor, extrapolationFactor: values["extrapolation_factor"]?.double,
          attentionFactor: values["attention_factor"]?.double,
          betaFast: values["beta_fast"]?.double, betaSlow: values["beta_slow"]?.double))
    case "llama3":
      let scaling = Llama3(
        factor: Float(try number("factor", values, or: 8)),
        lowFrequencyFactor: Float(try number("low_freq_factor", values, or: 1)),
        highFrequencyFactor: Float(try number("high_freq_factor", values, or: 4)),
        originalContextLength: originalContextLength ?? 8192)
      guard scaling.highFrequencyFactor > scaling.lowFrequencyFactor else {
        throw ConfigValues.fault("high_freq_factor", "more than low_freq_factor", values)
      }
      return .llama3(scaling)
    case let other?: return .unknown(other)
    }
  }

  private static func number(
    _ key: String, _ values: JSONValue, or fallback: Double? = nil
  ) throws(ModelError) -> Double {
    if let number = values[key]?.double ?? fallback, number.isFinite, number > 0 { return number }
    throw ConfigValues.fault(key, "a number above 0", values[key])
  }

  private static func contextFactors(
    _ values: JSONValue, pairCount: Int
  ) throws(ModelError) -> ContextFactors? {
    guard values["long_factor"] != nil || values["short_factor"] != nil else { return nil }
    func factors(_ key: String) throws(ModelError) -> [Float] {
      let found = (values[key]?.array ?? []).compactMap(\.double)
      if found.count == pairCount { return found.map { Float($0) } }
      throw ConfigValues.fault(key, "\(pairCount) numbers", values[key])
    }
    return ContextFactors(long: try factors("long_factor"), short: try factors("short_factor"))
  }

  // The formula is that of transformers for Phi 3.
  private static func attentionFactor(
    _ type: String?, stretch: Double, originalCount: Int
  ) throws(ModelError) -> Double {
    guard stretch > 1 else { return 1 }
    switch type {
    case "su", "longrope":
      return (1 + Platform.logarithm(stretch) / Platform.logarithm(Double(originalCount)))
        .squareRoot()
    case "yarn": return 0.1 * Platform.logarithm(stretch) + 1
    default:
      throw ModelError(
        .unsupported, "phi3 does not support this scaling of rotary embeddings",
        expected: "longrope, su or yarn", found: type ?? "nothing")
    }
  }

  /// Reads the parameters that the metadata of a GGUF file states.
  ///
  /// Throws `malformed` for values that are missing or invalid.
  init(_ values: GGUFValues, headSize: Int) throws(ModelError) {
    base = values.number("rope.freq_base")
    slidingBase = values.number("rope.freq_base_swa")
    rotatedCount = values.wholeNumber("rope.dimension_count") ?? headSize
    originalContextLength = values.wholeNumber("rope.scaling.original_context_length")
    attentionFactor = values.number("rope.scaling.attn_factor")
    switch values.text("rope.scaling.type") {
    case nil, "none", "longrope": scaling = .none
    case "linear":
      scaling = .linear(factor: try values.requiredNumber("rope.scaling.factor"))
    case "yarn":
      scaling = .yarn(
        Yarn(
          factor: try values.requiredNumber("rope.scaling.factor"),
          extrapolationFactor: values.number("rope.scaling.yarn_ext_factor"),
          attentionFactor: values.number("rope.scaling.yarn_attn_factor"),
          betaFast: values.number("rope.scaling.yarn_beta_fast"),
          betaSlow: values.number("rope.scaling.yarn_beta_slow")))
    case let other?: scaling = .unknown(other)
    }
  }
}
