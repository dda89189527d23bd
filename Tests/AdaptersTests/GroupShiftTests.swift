import Adapters
import TensorModel
import TestSupport
import Testing

/// Changes of group offsets, compared with plain loops in doubles.
@Suite struct GroupShiftTests {
  /// Three rows of six groups with random contents.
  private func rows(_ grouping: Grouping, seed: UInt64) -> GroupedRows {
    var random = Seeded(seed)
    let rows = GroupedRows(
      grouping: grouping, columnCount: 6 * grouping.groupSize, rowCount: 3)
    rows.codes = random.codes(rows.codes.count, bits: grouping.bits)
    rows.scales = Numbers.rounded(random.weights(18), to: .f16)
    if grouping.offset == .bias { rows.biases = Numbers.rounded(random.weights(18), to: .f16) }
    if grouping.offset == .zeroPoint {
      rows.zeros = random.codes(18, bits: grouping.bits).map(Float.init)
    }
    return rows
  }

  private func grouping(
    _ bits: Int, _ offset: Grouping.Offset, size: Int = 4
  ) -> Grouping {
    Grouping(bits: bits, groupSize: size, offset: offset, parameters: .f32)
  }

  private func shifted(_ delta: [Float], _ source: GroupedRows, to target: Grouping) -> GroupedRows
  {
    let rows = GroupedRows(
      grouping: target, columnCount: source.columnCount, rowCount: source.rowCount)
    GroupShift.apply(delta, to: source, into: rows)
    return rows
  }

  @Test(
    "all weights of a group change by one number, codes and scales do not change (seed 421)",
    arguments: Grouping.supportedBits, Grouping.Offset.allCases)
  func moves(bits: Int, offset: Grouping.Offset) {
    let source = rows(grouping(bits, offset), seed: 421)
    var random = Seeded(422)
    // One number for each group, and for each two, three and six groups.
    for ratio in [1, 2, 3, 6] {
      let delta = random.weights(18 / ratio)
      let target = shifted(delta, source, to: grouping(bits, .bias))
      #expect(target.codes == source.codes)
      #expect(target.scales.bits == source.scales.bits)
      for index in 0..<18 {
        let scale = Double(source.scales[index])
        let offset =
          switch offset {
          case .none: -scale * Double(1 << (bits - 1))
          case .zeroPoint: -scale * Double(source.zeros[index])
          case .bias: Double(source.biases[index])
          }
        let added = Double(delta[index / 6 * (6 / ratio) + index % 6 / ratio])
        let error = (Double(target.biases[index]) - (offset + added)).magnitude
        #expect(error <= 0x1p-23 * max(offset.magnitude, added.magnitude))
      }
    }
  }

  @Test(
    "zero points are rounded and clamped to the range of codes (seed 423)",
    arguments: Grouping.supportedBits, [Float(0.01), 1, 100])
  func zeros(bits: Int, scale: Float) {
    let source = rows(grouping(bits, .zeroPoint), seed: 423)
    var random = Seeded(424)
    let delta = random.weights(9, scale: scale)
    let target = shifted(delta, source, to: grouping(bits, .zeroPoint))
    #expect(target.codes == source.codes)
    #expect(target.scales.bits == source.scales.bits)
    for index in 0..<18 {
      let moved = source.zeros[index] - delta[index / 2] / source.scales[index]
      let wanted = min(max(moved.rounded(.toNearestOrEven), 0), Float(1 << bits) - 1)
      #expect(target.zeros[index] == wanted)
    }
  }

  @Test(
    "wider codes and zero points are multiples; the error is half a finer step (seed 425)",
    arguments: [(2, 3), (2, 4), (2, 8), (3, 4), (3, 8), (4, 5), (4, 8), (5, 6), (6, 8)])
  func widening(bits: Int, wider: Int) {
    let factor = ((1 << wider) - 1) / ((1 << bits) - 1)
    #expect(GroupShift.factor(from: bits, to: wider) == factor)
    let source = rows(grouping(bits, .zeroPoint), seed: 425)
    var random = Seeded(426)
    let delta = random.weights(18, scale: 0.3)
    let target = shifted(delta, source, to: grouping(wider, .zeroPoint))
    #expect(target.codes == source.codes.map { $0 * UInt8(factor) })
    for index in 0..<18 {
      let scale = source.scales[index]
      #expect(target.scales[index] == scale / Float(factor))
      let moved =
        Double(source.zeros[index]) * Double(factor)
        - Double(delta[index]) * Double(factor) / Double(scale)
      let wanted = min(max(moved, 0), Double((1 << wider) - 1))
      #expect((Double(target.zeros[index]) - wanted).magnitude <= 0.5 + 1e-4)
      #expect(target.zeros[index] == target.zeros[index].rounded())
    }
  }

  @Test(
    "groups without an offset change like groups with central zero points (seed 429)",
    arguments: [(2, 2), (4, 4), (8, 8), (2, 8), (3, 8), (4, 8)])
  func noZeros(bits: Int, wider: Int) {
    let source = rows(grouping(bits, .none), seed: 429)
    let twin = rows(grouping(bits, .zeroPoint), seed: 429)
    (twin.codes, twin.scales) = (source.codes, source.scales)
    for index in twin.zeros.indices { twin.zeros[index] = Float(1 << (bits - 1)) }
    var random = Seeded(430)
    let delta = random.weights(9, scale: 0.3)
    let target = shifted(delta, source, to: grouping(wider, .zeroPoint))
    let expected = shifted(delta, twin, to: grouping(wider, .zeroPoint))
    #expect(target.codes == expected.codes)
    #expect(target.scales.bits == expected.scales.bits)
    #expect(target.zeros == expected.zeros)
  }

  @Test("the factor of equal widths is 1", arguments: Grouping.supportedBits)
  func factor(bits: Int) { #expect(GroupShift.factor(from: bits, to: bits) == 1) }

  @Test("a group of scale 0 keeps its zero point") func scaleZero() {
    let source = rows(grouping(4, .zeroPoint), seed: 427)
    source.scales[3] = 0
    let target = shifted([Float](repeating: 5, count: 18), source, to: grouping(4, .zeroPoint))
    #expect(target.zeros[3] == source.zeros[3])
  }

  @Test("a subnormal scale still gives an integer zero point")
  func tinyScale() {
    let source = rows(grouping(4, .zeroPoint), seed: 428)
    for (index, scale) in [Float.leastNonzeroMagnitude, -.leastNonzeroMagnitude].enumerated() {
      source.scales[index] = scale
    }
    for delta: Float in [1e10, -1e10, .infinity, .nan] {
      let target = shifted(
        [Float](repeating: delta, count: 18), source, to: grouping(4, .zeroPoint))
      #expect(target.zeros.allSatisfy { $0 >= 0 && $0 <= 15 && $0 == $0.rounded() })
    }
  }

  @Test("the number of a group is repeated for its columns", arguments: [1, 3, 16])
  func spread(size: Int) {
    let values: [Float] = [1, -2, 0.5]
    let spread = GroupShift.spread(values, columnsPerGroup: size)
    #expect(spread == (0..<3 * size).map { values[$0 / size] })
    #expect(GroupShift.spread([], columnsPerGroup: size) == [])
  }
}
