/// A pseudo-random generator that gives the same numbers in every run: SplitMix64.
///
/// Tests state the seed in their name, so that it is printed with a failure.
package struct Seeded: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// Creates a generator; the same seed gives the same numbers.
  package init(_ seed: UInt64) { state = seed }

  /// The next 64 random bits.
  package mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  /// A random number below `bound`.
  package mutating func below(_ bound: Int) -> Int { Int(next() >> 1) % bound }

  /// Random bytes.
  package mutating func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
  }

  /// Random codes below 2^bits.
  package mutating func codes(_ count: Int, bits: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) >> (8 - bits) }
  }

  /// Random values around zero with long tails, like weights.
  package mutating func weights(_ count: Int, scale: Float = 1) -> [Float] {
    (0..<count).map { _ in
      let x = Float(Int64(bitPattern: next()) >> 40) / Float(1 << 23)
      return scale * x * x * x
    }
  }
}
