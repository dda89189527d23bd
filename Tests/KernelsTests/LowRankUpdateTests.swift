import Kernels
import TestSupport
import Testing

@Suite struct LowRankUpdateTests {
  private func add(
    _ left: [Float], _ right: [Float], rank: Int, scale: Float, to delta: [Float],
    on set: InstructionSet
  ) -> [UInt32] {
    var delta = delta
    var span = delta.mutableSpan
    LowRankUpdate.add(
      left: left.span, right: right.span, rank: rank, scale: scale, to: &span, on: set)
    return delta.bits
  }

  private func twin(
    _ left: [Float], _ right: [Float], rank: Int, scale: Float, to delta: [Float]
  ) -> [UInt32] {
    let columns = right.count / rank
    return delta.indices.map { n in
      var sum = Float(0)
      for k in 0..<rank {
        sum += left[n / columns * rank + k] * right[k * columns + n % columns]
      }
      let result = delta[n] + scale * sum
      return result.isNaN ? Float.nan.bitPattern : result.bitPattern
    }
  }

  private static let special: [Float] = [
    .nan, -.nan, .infinity, -.infinity, 0, -0.0, .leastNonzeroMagnitude, .greatestFiniteMagnitude,
    Float(bitPattern: 0x7f80_0001), Float(bitPattern: 0xffc0_0123),
  ]

  @Test(
    "an update matches its plain twin (seed 121)", arguments: InstructionSet.available,
    [1, 2, 7, 8, 9, 65])
  func twin(set: InstructionSet, rows: Int) {
    var random = Seeded(121)
    for columns in [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 100, 129] {
      for rank in [1, 2, 16, 64, 65, 130] {
        let left = random.weights(rows * rank)
        let right = random.weights(rank * columns, scale: 3)
        let delta = random.weights(rows * columns)
        let scale = 4 * random.weights(1)[0]
        #expect(
          add(left, right, rank: rank, scale: scale, to: delta, on: set)
            == twin(left, right, rank: rank, scale: scale, to: delta),
          "\(rows) × \(rank) × \(columns), scale \(scale)")
      }
    }
  }

  @Test(
    "an update of many rows matches its plain twin (seed 122)", arguments: InstructionSet.available,
    [64, 127, 128, 131])
  func manyRows(set: InstructionSet, rows: Int) {
    var random = Seeded(122)
    for (columns, rank) in [(8, 16), (67, 3), (20, 70)] {
      let left = random.weights(rows * rank)
      let right = random.weights(rank * columns)
      let delta = random.weights(rows * columns)
      #expect(
        add(left, right, rank: rank, scale: -0.5, to: delta, on: set)
          == twin(left, right, rank: rank, scale: -0.5, to: delta), "\(rank) × \(columns)")
    }
  }

  // Tiles are filled with repeated rows and zero columns, which must not affect other values. Every
  // NaN result has the same bits, whatever the operands.
  @Test(
    "values that are not finite affect only their row or column (seed 123)",
    arguments: InstructionSet.available
  )
  func special(set: InstructionSet) {
    var random = Seeded(123)
    func sprinkle(_ values: inout [Float], _ share: Int) {
      for i in values.indices where random.below(share) == 0 {
        values[i] = Self.special[random.below(Self.special.count)]
      }
    }
    for (rows, columns, rank) in [(11, 70, 5), (3, 9, 66), (9, 21, 1), (67, 35, 2)] {
      for scale: Float in [1, -2, 0, -0.0, .infinity, .nan, 0x1p-140] {
        var left = random.weights(rows * rank)
        var right = random.weights(rank * columns)
        var delta = random.weights(rows * columns)
        sprinkle(&left, 2 * rows)
        sprinkle(&right, 2 * columns)
        sprinkle(&delta, 8)
        #expect(
          add(left, right, rank: rank, scale: scale, to: delta, on: set)
            == twin(left, right, rank: rank, scale: scale, to: delta),
          "\(rows) × \(rank) × \(columns), scale \(scale)")
      }
    }
  }

  @Test("an update matches a product computed by hand", arguments: InstructionSet.available)
  func byHand(set: InstructionSet) {
    // [1 2; 3 4] · [5 6 7; 8 9 10] = [21 24 27; 47 54 61]
    let found = add(
      [1, 2, 3, 4], [5, 6, 7, 8, 9, 10], rank: 2, scale: -2, to: [1, 0, 0, 0, 0, 100], on: set)
    #expect(found == ([-41, -48, -54, -94, -108, -22] as [Float]).bits)
  }

  @Test("products are rounded, and then added in order", arguments: InstructionSet.available)
  func rounding(set: InstructionSet) {
    for columns in [1, 16, 40] {
      func sum(_ left: [Float], _ factors: [Float]) -> Set<UInt32> {
        let right = factors.flatMap { [Float](repeating: $0, count: columns) }
        let delta = [Float](repeating: 0, count: columns)
        return Set(add(left, right, rank: left.count, scale: 1, to: delta, on: set))
      }
      // (1 + 2^-12)² = 1 + 2^-11 + 2^-24. With fused arithmetic, the last term would remain.
      let x: Float = 1 + 0x1p-12
      #expect(sum([-(1 + 0x1p-11), x], [1, x]) == [0])
      // 2^24 + 1 is rounded to 2^24. In another order, the 1 would remain.
      #expect(sum([0x1p24, 1, -0x1p24], [1, 1, 1]) == [0])
      #expect(sum([0x1p24, -0x1p24, 1], [1, 1, 1]) == [Float(1).bitPattern])
    }
  }

  @Test("rank 0 and empty matrices change nothing", arguments: InstructionSet.available)
  func empty(set: InstructionSet) {
    let delta: [Float] = [-0.0, 1, Float(bitPattern: 0xffc0_0123)]
    #expect(add([], [], rank: 0, scale: .nan, to: delta, on: set) == delta.bits)
    #expect(add([], [1, 2], rank: 2, scale: 1, to: [], on: set) == [])
    #expect(add([1, 2], [], rank: 2, scale: 1, to: [], on: set) == [])
  }
}
