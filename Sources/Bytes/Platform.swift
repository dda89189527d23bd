#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// What the standard library leaves to the system.
package enum Platform {
  /// How many threads this machine runs at once.
  package static let processorCount = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))

  /// −20 · log10(ratio): a ratio of amplitudes in decibels, infinite for 0.
  package static func decibels(ofNoise ratio: Double) -> Double {
    ratio == 0 ? .infinity : -20 * log10(ratio)
  }

  /// The natural logarithm.
  package static func logarithm(_ number: Double) -> Double { log(number) }

  /// A number to the power of another.
  package static func power(_ base: Float, _ exponent: Float) -> Float { powf(base, exponent) }
}
