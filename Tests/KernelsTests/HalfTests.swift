import Kernels
import TestSupport
import Testing

@Suite struct HalfTests {
  private static let allHalves = (0...UInt16.max).flatMap {
    [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)]
  }

  private func words(_ bytes: [UInt8]) -> [UInt16] {
    stride(from: 0, to: bytes.count, by: 2).map { UInt16(bytes[$0]) | UInt16(bytes[$0 + 1]) << 8 }
  }

  @Test("every half decodes to the float of its definition", arguments: InstructionSet.available)
  func everyHalf(set: InstructionSet) {
    let values = FloatFormat.float16.decode(Self.allHalves, on: set)
    #expect(values.bits == (0...UInt16.max).map(HalfTwin.float(ofHalf:)))
  }

  @Test(
    "every half survives a round trip, with NaNs made quiet", arguments: InstructionSet.available)
  func halvesComeBack(set: InstructionSet) {
    let values = FloatFormat.float16.decode(Self.allHalves, on: set)
    let expected = (0...UInt16.max).map { $0 & 0x7fff > 0x7c00 ? $0 | 0x0200 : $0 }
    #expect(words(FloatFormat.float16.encode(values, on: set)) == expected)
  }

  @Test(
    "every bfloat is the upper half of a float, and survives a round trip",
    arguments: InstructionSet.available)
  func everyBfloat(set: InstructionSet) {
    let values = FloatFormat.bfloat16.decode(Self.allHalves, on: set)
    #expect(values.bits == (0...UInt16.max).map { UInt32($0) << 16 })
    let expected = (0...UInt16.max).map { $0 & 0x7fff > 0x7f80 ? $0 | 0x0040 : $0 }
    #expect(words(FloatFormat.bfloat16.encode(values, on: set)) == expected)
  }

  /// For every half: the half, the tie above it, and their neighboring floats.
  private static let ties: [Float] = (0..<UInt16(0x7c00)).flatMap { half -> [Float] in
    let low = Float(bitPattern: HalfTwin.float(ofHalf: half))
    let high = half == 0x7bff ? 65536 : Float(bitPattern: HalfTwin.float(ofHalf: half + 1))
    let tie = low + (high - low) / 2
    return [low, low.nextUp, tie.nextDown, tie, tie.nextUp, -tie.nextDown, -tie, -tie.nextUp]
  }

  private static let edges: [Float] = [
    0, -0.0, .infinity, -.infinity, .nan, -.nan, .leastNonzeroMagnitude,
    -.leastNonzeroMagnitude, .leastNormalMagnitude, .greatestFiniteMagnitude, 65504, 65519.996,
    65520, 0x1p-25, 0x1.000002p-25, 0x1p-24, 0x1.8p-24, 0x1p-14, 0x1.ffffp-15,
    Float(bitPattern: 0x7f80_0001), Float(bitPattern: 0xff80_2000),
    Float(bitPattern: 0x7fff_ffff), Float(bitPattern: 0x7fbf_ffff), Float(bitPattern: 0x7f7f_8000),
  ]

  private static func sweep(seed: UInt64) -> [Float] {
    var random = Seeded(seed)
    return (0..<200_003).map { _ in Float(bitPattern: UInt32(truncatingIfNeeded: random.next())) }
  }

  @Test(
    "floats round to the nearest half, ties to even (seed 41)", arguments: InstructionSet.available)
  func roundsToHalf(set: InstructionSet) {
    for values in [Self.edges, Self.ties, Self.sweep(seed: 41)] {
      #expect(words(FloatFormat.float16.encode(values, on: set)) == values.map(HalfTwin.half(of:)))
    }
  }

  @Test(
    "floats round to the nearest bfloat, ties to even (seed 42)",
    arguments: InstructionSet.available)
  func roundsToBfloat(set: InstructionSet) {
    let ties = (0..<UInt32(0x7f80)).flatMap { high in
      [0x7fff, 0x8000, 0x8001].map { Float(bitPattern: high << 16 | $0) }
    }
    for values in [Self.edges, ties, Self.sweep(seed: 42)] {
      #expect(
        words(FloatFormat.bfloat16.encode(values, on: set)) == values.map(HalfTwin.bfloat(of:)))
    }
  }

  @Test(
    "doubles round to floats and floats widen to doubles (seed 43)",
    arguments: InstructionSet.available)
  func doubles(set: InstructionSet) {
    var random = Seeded(43)
    let doubles =
      (0..<10_007).map { _ in Double.random(in: -1e3...1e3, using: &random) } + [
        0, -0.0, 1e300, -1e300, 1e-300, 0x1.000001p0, 0x1.000003p0, 0x1p-149, 0x1p-150, 0x1.8p-149,
        .infinity, -.infinity,
      ]
    let bytes = doubles.flatMap { value in
      (0..<8).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * $0)) }
    }
    let floats = FloatFormat.float64.decode(bytes, on: set)
    #expect(floats.bits == doubles.map { Float($0).bitPattern })
    let nan = (0..<8).map { UInt8(truncatingIfNeeded: Double.nan.bitPattern >> (8 * $0)) }
    #expect(FloatFormat.float64.decode(nan, on: set)[0].isNaN)
    let wide = FloatFormat.float64.encode(floats, on: set)
    #expect(FloatFormat.float64.decode(wide, on: set).bits == floats.bits)
  }

  @Test(
    "float32 stores the bits of floats, signaling NaNs included",
    arguments: InstructionSet.available)
  func floats(set: InstructionSet) {
    let values = Self.edges
    let bytes = FloatFormat.float32.encode(values, on: set)
    #expect(
      bytes
        == values.flatMap { v in (0..<4).map { UInt8(truncatingIfNeeded: v.bitPattern >> (8 * $0)) }
        })
    #expect(FloatFormat.float32.decode(bytes, on: set).bits == values.bits)
  }

  @Test("any alignment and any number of values works (seed 44)")
  func unaligned() {
    var random = Seeded(44)
    let bytes = random.bytes(8 * 40 + 1)
    for set in InstructionSet.available {
      for format in FloatFormat.allCases {
        for count in 0...40 {
          var values = [Float](repeating: 0, count: count)
          var span = values.mutableSpan
          let size = count * format.byteCount
          format.decode(bytes.span.extracting(1..<(1 + size)), into: &span, on: set)
          #expect(values.bits == format.decode(Array(bytes[1..<(1 + size)]), on: .portable).bits)

          var stored = [UInt8](repeating: 0xaa, count: size + 2)
          var storedSpan = stored.mutableSpan
          var raw = storedSpan.mutableBytes
          var part = raw._mutatingExtracting(1..<(1 + size))
          format.encode(values.span, into: &part, on: set)
          #expect(stored == [0xaa] + format.encode(values, on: .portable) + [0xaa])
        }
      }
    }
  }
}
