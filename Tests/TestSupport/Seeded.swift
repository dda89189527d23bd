/// Numbers that look random and are the same in every run: SplitMix64.
///
/// Tests name the seed in their title, so that it is printed with a failure.
package struct Seeded: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// A generator; the same seed gives the same numbers.
  package init(_ seed: UInt64) { state = seed }

  /// The next 64 random bits.
  package mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  /// A number below `bound`.
  package mutating func below(_ bound: Int) -> Int { Int(next() >> 1) % bound }

  /// Bytes of any value.
  package mutating func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
  }

  /// Codes below 2^bits.
  package mutating func codes(_ count: Int, bits: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) >> (8 - bits) }
  }

  /// Values around zero with long tails, as weights are.
  package mutating func weights(_ count: Int, scale: Float = 1) -> [Float] {
    (0..<count).map { _ in
      let x = Float(Int64(bitPattern: next()) >> 40) / Float(1 << 23)
      return scale * x * x * x
    }
  }
}
