internal import Bytes

/// The parameters of rotary embeddings: by which angles pairs of numbers in a head are rotated.
package struct RopeParameters: Sendable, Hashable {
  /// The base of the angles, `rope_theta`; nil if the source leaves it to the architecture.
  package let base: Double?
  /// The base in layers with sliding attention; nil if all layers have the same base.
  package let slidingBase: Double?
  /// The number of elements of a head that are rotated.
  package let rotatedCount: Int
  /// The same in layers with sliding attention; nil if the source does not state it.
  package let slidingRotatedCount: Int?
  /// How angles are scaled to reach longer contexts.
  package let scaling: Scaling
  /// The context length before the context was extended; nil if it is not known.
  package let originalContextLength: Int?
  /// How many pairs of a head each kind of position rotates: `mrope_section`; nil without kinds.
  ///
  /// All kinds of positions are equal for text.
  package let sections: [Int]?
  /// The factor of attention in an extended context, with longrope; nil for others.
  package var attentionFactor: Double?
  /// How fast queries grow with their position, `llama_4_scaling_beta`; nil if they do not.
  ///
  /// A query at position p is multiplied by 1 + β · ln(1 + ⌊p / l⌋), with the original context length l.
  package let queryGrowth: Double?

  /// A way to scale angles.
  package enum Scaling: Sendable, Hashable {
    /// Angles are not scaled.
    case none
    /// Every angle is divided by a factor.
    case linear(factor: Double)
    /// The base grows with the text, once the text is longer than the context.
    case dynamic
    /// YaRN (arXiv 2309.00071).
    case yarn(Yarn)
    /// Long waves are stretched, short ones are not, and those between are interpolated (Llama 3.1).
    case llama3(Llama3)
    /// Angles have divisors of their own for long and for short contexts (arXiv 2402.13753).
    case longrope(ContextFactors)
    /// Only the first pairs of numbers in a head are rotated, such a part of them, by the angles that
    /// they have if all are.
    case proportional(part: Double)
    /// A kind that Pleat does not know.
    case unknown(String)

    /// The kind without its parameters; nil for none and for unknown ones.
    package var kind: Kind? {
      switch self {
      case .none, .unknown: nil
      case .linear: .linear
      case .dynamic: .dynamic
      case .yarn: .yarn
      case .llama3: .llama3
      case .longrope: .longrope
      case .proportional: .proportional
      }
    }
  }

  /// A way to scale angles, with its name in transformers.
  package enum Kind: String, Sendable, Hashable, CaseIterable {
    case linear
    case dynamic
    case yarn
    case llama3
    case longrope
    case proportional
  }

  /// The parameters of YaRN.
  package struct Yarn: Sendable, Hashable {
    /// The factor by which the context is extended.
    package var factor: Double
    /// `extrapolation_factor`, which transformers ignores; nil for the default, as below.
    package var extrapolationFactor: Double?
    /// The factor of attention that `attention_factor` states, or `mscale` and `mscale_all_dim`.
    package var attentionFactor: Double?
    /// `beta_fast`.
    package var betaFast: Double?
    /// `beta_slow`.
    package var betaSlow: Double?
    /// Whether the limits between long and short waves are rounded to whole pairs of numbers.
    package var truncates = true
    /// `mscale_all_dim`, which also scales scores in latent attention; nil if it is not stated, or 0.
    package var scaleOfAll: Double?

    static let defaultBetas = (fast: 32.0, slow: 1.0)

    /// The factor of attention.
    package var wholeAttentionFactor: Double { attentionFactor ?? Self.attention(factor, scale: 1) }

    /// The factor of attention divided by the default one, which depends on the extension.
    package var relativeAttentionFactor: Double {
      wholeAttentionFactor / Self.attention(factor, scale: 1)
    }

    /// The factor of attention divided by that of `mscale` 1 and `scaleOfAll`.
    package var scaledAttentionFactor: Double {
      relativeAttentionFactor * Self.attention(factor, scale: scaleOfAll ?? 0)
    }

    /// Whether the limits between long and short waves are the default ones.
    package var hasDefaultLimits: Bool {
      truncates && (betaFast ?? Self.defaultBetas.fast) == Self.defaultBetas.fast
        && (betaSlow ?? Self.defaultBetas.slow) == Self.defaultBetas.slow
    }

    /// The factor of scores in latent attention.
    package var scoreFactor: Double {
      let factor = Self.attention(factor, scale: scaleOfAll ?? 0)
      return factor * factor
    }

    /// The factor of attention of an extension, with a weight for its logarithm.
    static func attention(_ factor: Double, scale: Double) -> Double {
      factor <= 1 ? 1 : 0.1 * scale * Platform.logarithm(factor) + 1
    }
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

  /// The divisor of the rotary angle of each pair of numbers in a head; nil if none is needed.
  ///
  /// Llama 3.1 needs divisors, and so do angles of some pairs only; YaRN does unless it has the
  /// default limits. Any other scaling is described by numbers in the metadata.
  package func frequencyFactors(headSize: Int) -> [Float]? {
    switch scaling {
    case .llama3(let scaling): factors(scaling, headSize)
    case .yarn(let yarn) where !yarn.hasDefaultLimits: factors(yarn, headSize)
    // An angle that is divided by this is 0.
    case .proportional(let part):
      (0..<headSize / 2).map { $0 < Int(part * Double(headSize) / 2) ? 1 : 1e30 }
    default: nil
    }
  }

  /// The angle of each pair of numbers at position 1, as in `transformers`.
  ///
  /// - Parameters:
  ///   - isSliding: Whether the layer has sliding attention.
  ///   - isScaled: Whether angles of the layer are scaled.
  ///   - count: The number of numbers of a head that are rotated.
  ///   - length: The number of positions of the text; longrope depends on it.
  /// - Returns: One angle for every two of the numbers that are rotated.
  package func angles(
    isSliding: Bool, isScaled: Bool, rotatedCount count: Int, length: Int
  ) -> [Float] {
    let base = (isSliding ? slidingBase : nil) ?? base ?? Self.defaultBase
    let divisors = isScaled ? divisors(length, rotatedCount: count) : nil
    return (0..<count / 2).map { pair in
      let angle = 1 / Platform.power(base, Double(2 * pair) / Double(count))
      return Float(angle / Double(divisors?[pair] ?? 1))
    }
  }

  /// The number of numbers of a head that are rotated in layers with or without sliding attention.
  package func rotatedCount(isSliding: Bool) -> Int {
    isSliding ? slidingRotatedCount ?? rotatedCount : rotatedCount
  }

  /// The factor of the cosines and sines of a layer.
  package func rotationFactor(isScaled: Bool) -> Float {
    guard isScaled else { return 1 }
    if case .yarn(let yarn) = scaling { return Float(yarn.wholeAttentionFactor) }
    return Float(attentionFactor ?? 1)
  }

  /// The divisor of the angle of each pair in a text; nil if there are none.
  private func divisors(_ length: Int, rotatedCount: Int) -> [Float]? {
    switch scaling {
    case .linear(let factor): Array(repeating: Float(factor), count: rotatedCount / 2)
    case .yarn(let yarn): factors(yarn, rotatedCount)
    case .longrope(let factors):
      length > originalContextLength ?? .max ? factors.long : factors.short
    case .llama3, .proportional: frequencyFactors(headSize: rotatedCount)
    case .none, .dynamic, .unknown: nil
    }
  }

  // The formula is that of `_compute_llama3_parameters` in transformers, in float32 as there.
  func factors(_ scaling: Llama3, _ headSize: Int) -> [Float] {
    let positions = Float(scaling.originalContextLength)
    let (low, high) = (scaling.lowFrequencyFactor, scaling.highFrequencyFactor)
    return stride(from: 0, to: headSize, by: 2).map { index in
      let angle =
        1 / Platform.power(Float(base ?? Self.defaultBase), Float(index) / Float(headSize))
      let wave = 2 * Float.pi / angle
      if wave < positions / high { return 1 }
      if wave > positions / low { return scaling.factor }
      let smooth = (positions / wave - low) / (high - low)
      return 1 / ((1 - smooth) / scaling.factor + smooth)
    }
  }

  // The formula is that of `_compute_yarn_parameters` in transformers.
  private func factors(_ yarn: Yarn, _ headSize: Int) -> [Float] {
    func limit(_ rotationCount: Double) -> Double {
      let waves = Double(originalContextLength ?? 1) / (rotationCount * 2 * Double.pi)
      return Double(headSize) * Platform.logarithm(waves)
        / (2 * Platform.logarithm(base ?? Self.defaultBase))
    }
    var (low, high) = (
      limit(yarn.betaFast ?? Yarn.defaultBetas.fast), limit(yarn.betaSlow ?? Yarn.defaultBetas.slow)
    )
    if yarn.truncates { (low, high) = (low.rounded(.down), high.rounded(.up)) }
    low = max(low, 0)
    high = min(high, Double(headSize - 1))
    if low == high { high += 0.001 }
    return (0..<headSize / 2).map { index in
      let ramp = min(max((Double(index) - low) / (high - low), 0), 1)
      return Float(1 / (ramp / yarn.factor + 1 - ramp))
    }
  }

  // The default of transformers and of llama.cpp.
  static let defaultBase = 10_000.0
}
