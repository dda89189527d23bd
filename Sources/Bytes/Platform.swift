#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// System functions that the Swift standard library does not offer.
package enum Platform {
  /// The number of processors that are online.
  package static let processorCount = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))

  /// A ratio of amplitudes in decibels: −20 · log10(ratio), infinite for 0.
  package static func decibels(ofNoise ratio: Double) -> Double {
    ratio == 0 ? .infinity : -20 * log10(ratio)
  }

  /// The natural logarithm of a number.
  package static func logarithm(_ number: Double) -> Double { log(number) }

  /// The cosine and the sine of an angle, rounded to float32 from double precision.
  package static func circle(_ angle: Float) -> (cosine: Float, sine: Float) {
    (Float(cos(Double(angle))), Float(sin(Double(angle))))
  }

  /// e to the power of a number.
  package static func exponential(_ number: Double) -> Double { exp(number) }

  /// e to the power of a number, rounded to float32 from double precision.
  package static func exponential(_ number: Float) -> Float { Float(exp(Double(number))) }

  /// ln(1 + eˣ), rounded to float32 from double precision; x itself beyond 20, as in PyTorch.
  package static func softplus(_ number: Float) -> Float {
    number > 20 ? number : Float(log1p(exp(Double(number))))
  }

  /// A number to the power of another.
  package static func power(_ base: Float, _ exponent: Float) -> Float { powf(base, exponent) }

  /// `base` to the power of `exponent`.
  package static func power(_ base: Double, _ exponent: Double) -> Double { pow(base, exponent) }
}
