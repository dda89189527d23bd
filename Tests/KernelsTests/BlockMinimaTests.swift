import Kernels
import TestSupport
import Testing

/// Adding a number to all weights of a sub-block changes its minimum, and no code.
@Suite struct BlockMinimaTests {
  static let types: [BlockType] = [.q2_K, .q4_K, .q5_K]

  /// Random blocks with steps around 2^-6.
  private func blocks(_ type: BlockType, count: Int, _ random: inout Seeded) -> [UInt8] {
    var bytes = (0..<count * type.byteCount).map { _ in UInt8.random(in: 0...255, using: &random) }
    for block in 0..<count {
      let first = block * type.byteCount + (type == .q2_K ? 80 : 0)
      bytes[first + 1] = 0x24
      bytes[first + 3] = 0x20
    }
    return bytes
  }

  private func moved(
    _ type: BlockType, _ bytes: [UInt8], _ delta: [Float], on set: InstructionSet
  ) -> [UInt8] {
    var bytes = bytes
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    type.moveMinima(by: delta.span, in: &raw, on: set)
    return bytes
  }

  private func decoded(_ type: BlockType, _ bytes: [UInt8]) -> [Float] {
    var values = [Float](repeating: 0, count: bytes.count / type.byteCount * type.elementCount)
    var span = values.mutableSpan
    type.decode(bytes.span, into: &span)
    return values
  }

  /// The sum of the squared errors of a change.
  private func error(_ found: [Float], _ base: [Float], _ delta: [Float], size: Int) -> Double {
    found.indices.reduce(0) { sum, index in
      let miss = Double(found[index]) - Double(base[index]) - Double(delta[index / size])
      return sum + miss * miss
    }
  }

  @Test(
    "minima match their plain twin (seed 151)", arguments: InstructionSet.available, types)
  func twin(set: InstructionSet, type: BlockType) throws {
    var random = Seeded(151)
    let bytes = blocks(type, count: 40, &random)
    let size = try #require(type.minimumSize)
    for scale: Float in [0, 1e-30, 1e-4, 1e-2, 1, 1e4] {
      let delta = random.weights(40 * 256 / size, scale: scale)
      let expected = MinimaTwin(type: type).moved(bytes, by: delta)
      #expect(moved(type, bytes, delta, on: set) == expected)
    }
  }

  @Test("a change of zeros changes no byte", arguments: InstructionSet.available, types)
  func zeros(set: InstructionSet, type: BlockType) throws {
    var random = Seeded(152)
    let bytes = blocks(type, count: 8, &random)
    let size = try #require(type.minimumSize)
    let delta = [Float](repeating: 0, count: 8 * 256 / size)
    #expect(moved(type, bytes, delta, on: set) == bytes)
  }

  @Test(
    "a change of minima keeps every code and scale, and is never worse than none", arguments: types)
  func keepsCodes(type: BlockType) throws {
    var random = Seeded(153)
    let bytes = blocks(type, count: 64, &random)
    let size = try #require(type.minimumSize)
    let base = decoded(type, bytes)
    for scale: Float in [1e-3, 1e-2, 0.1] {
      let delta = random.weights(64 * 256 / size, scale: scale)
      let changed = moved(type, bytes, delta, on: .best)
      let found = decoded(type, changed)
      for start in stride(from: 0, to: base.count, by: size) {
        // Within a sub-block all weights move by the same number.
        let steps = (start..<start + size).map { Double(found[$0]) - Double(base[$0]) }
        #expect((steps.max() ?? 0) - (steps.min() ?? 0) < 1e-5 * (1 + Double(scale)))
      }
      #expect(type.differingCodeBytes(bytes[...], changed[...]) == 0)
      let none = error(base, base, delta, size: size)
      #expect(error(found, base, delta, size: size) < none)
    }
  }

  @Test("differing codes are counted, other bytes are not", arguments: types)
  func counting(type: BlockType) {
    var random = Seeded(154)
    let bytes = blocks(type, count: 2, &random)
    var others = bytes
    others[20] ^= 1
    others[type.byteCount + 70] ^= 1
    #expect(type.differingCodeBytes(bytes[...], others[...]) == 2)
    others = bytes
    others[type == .q2_K ? 81 : 1] ^= 1
    #expect(type.differingCodeBytes(bytes[...], others[...]) == 0)
  }
}

/// The choice of minima, element by element.
private struct MinimaTwin {
  let type: BlockType
  private var count: Int { type == .q2_K ? 16 : 8 }
  private var top: Float { type == .q2_K ? 15 : 63 }
  private var stepAt: Int { type == .q2_K ? 82 : 2 }

  private struct Choice {
    var step: Float
    var integers: [Int]
    var error: Float
  }

  func moved(_ bytes: [UInt8], by delta: [Float]) -> [UInt8] {
    var bytes = bytes
    for block in 0..<bytes.count / type.byteCount {
      let first = block * type.byteCount
      let change = Array(delta[block * count..<(block + 1) * count])
      guard change.contains(where: { $0 != 0 }) else { continue }
      let half = UInt16(bytes[first + stepAt]) | UInt16(bytes[first + stepAt + 1]) << 8
      let step = Float(bitPattern: HalfTwin.float(ofHalf: half))
      let wanted = (0..<count).map {
        step * Float(integer($0, bytes, first)) - change[$0]
      }
      let best = best(wanted, from: choice(wanted, step: step))
      let bits = HalfTwin.half(of: best.step)
      bytes[first + stepAt] = UInt8(bits & 255)
      bytes[first + stepAt + 1] = UInt8(bits >> 8)
      for (sub, integer) in best.integers.enumerated() { store(integer, sub, &bytes, first) }
    }
    return bytes
  }

  private func best(_ wanted: [Float], from start: Choice) -> Choice {
    var best = start
    func attempt(_ step: Float) {
      let rounded = Float(bitPattern: HalfTwin.float(ofHalf: HalfTwin.half(of: step)))
      guard rounded.isFinite else { return }
      let found = choice(wanted, step: rounded)
      if found.error < best.error { best = found }
    }
    for sign: Float in [1, -1] {
      let largest = wanted.map { sign * $0 }.max() ?? 0
      guard largest > 0 else { continue }
      for trial in -4...8 {
        let start = choice(wanted, step: sign * largest / (top + 0.25 * Float(trial)))
        attempt(start.step)
        var (products, squares): (Float, Float) = (0, 0)
        for (value, integer) in zip(wanted, start.integers) {
          products += value * Float(integer)
          squares += Float(integer) * Float(integer)
        }
        attempt(squares > 0 ? products / squares : 0)
      }
    }
    return best
  }

  private func choice(_ wanted: [Float], step: Float) -> Choice {
    var result = Choice(step: step, integers: [], error: 0)
    for value in wanted {
      let quotient = step == 0 ? 0 : value / step
      let integer = min(max(quotient > 0 ? quotient : 0, 0), top).rounded(.toNearestOrEven)
      let miss = value - step * integer
      result.integers.append(Int(integer))
      result.error += miss * miss
    }
    return result
  }

  private func integer(_ sub: Int, _ bytes: [UInt8], _ first: Int) -> Int {
    if type == .q2_K { return Int(bytes[first + sub] >> 4) }
    let packed = first + 4
    if sub < 4 { return Int(bytes[packed + sub + 4] & 63) }
    return Int(bytes[packed + sub + 4] >> 4) + Int(bytes[packed + sub] >> 6) * 16
  }

  private func store(_ integer: Int, _ sub: Int, _ bytes: inout [UInt8], _ first: Int) {
    let integer = UInt8(integer)
    let packed = first + 4
    if type == .q2_K {
      bytes[first + sub] = bytes[first + sub] & 15 | integer << 4
    } else if sub < 4 {
      bytes[packed + sub + 4] = bytes[packed + sub + 4] & 192 | integer
    } else {
      bytes[packed + sub + 4] = bytes[packed + sub + 4] & 15 | (integer & 15) << 4
      bytes[packed + sub] = bytes[packed + sub] & 63 | (integer >> 4) << 6
    }
  }
}
