import Kernels

/// Numbers that look random and are the same in every run: SplitMix64.
struct Seeded: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  mutating func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
  }

  /// Codes below 2^bits.
  mutating func codes(_ count: Int, bits: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) >> (8 - bits) }
  }

  /// Values around zero with long tails, as weights are.
  mutating func weights(_ count: Int, scale: Float = 1) -> [Float] {
    (0..<count).map { _ in
      let x = Float.random(in: -1...1, using: &self)
      return scale * x * x * x
    }
  }
}

extension [Float] {
  /// For comparisons that tell zeros and NaNs apart.
  var bits: [UInt32] { map(\.bitPattern) }
}

extension FloatFormat {
  func decode(_ bytes: [UInt8], on instructions: InstructionSet) -> [Float] {
    var values = [Float](repeating: -1, count: bytes.count / byteCount)
    var span = values.mutableSpan
    decode(bytes.span.bytes, into: &span, on: instructions)
    return values
  }

  func encode(_ values: [Float], on instructions: InstructionSet) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xaa, count: values.count * byteCount)
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    encode(values.span, into: &raw, on: instructions)
    return bytes
  }
}
