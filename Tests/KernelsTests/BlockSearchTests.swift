import Kernels
import TestSupport
import Testing

@Suite struct BlockSearchTests {
  private static let types = AffineRowsTests.superBlocks + SymmetricRowsTests.types

  /// The squared errors of each block, weighted as `searchRows` weights them.
  private func errors(
    _ type: BlockType, _ blocks: [UInt8], _ values: [Float], importance: [Float], columns: Int
  ) -> [Double] {
    var decoded = [Float](repeating: .nan, count: values.count)
    var span = decoded.mutableSpan
    type.decode(blocks.span, into: &span)
    let size = type.elementCount
    return stride(from: 0, to: values.count, by: size).map { start in
      let some = importance.dropFirst(start % columns).prefix(size).map(Double.init)
      let mean = some.reduce(0, +) / Double(size)
      return (0..<size).reduce(0) { sum, i in
        let weight = some.isEmpty || mean == 0 ? 1 : max(some[i] / mean, 1e-6)
        let error = Double(decoded[start + i]) - Double(values[start + i])
        return sum + weight * error * error
      }
    }
  }

  @Test(
    "in no block is the error above that of llama.cpp (seed 161)",
    arguments: types)
  func never(type: BlockType) throws {
    let values = SampleRows.values(columnCount: 512, seed: 161)
    for importance in [[]] + SampleRows.importances(columnCount: 512, seed: 162) {
      let plain = try type.encodeRows(
        values, columnCount: 512, importance: importance, on: .best
      ).get()
      let most = errors(type, plain, values, importance: importance, columns: 512)
      for rounds in [1, 3] {
        let found = InstructionSet.available.map { set in
          type.searchRows(
            values, columnCount: 512, importance: importance, rounds: rounds, on: set)
        }
        let blocks = try found[0].get()
        #expect(found.allSatisfy { $0 == .success(blocks) })
        let least = errors(type, blocks, values, importance: importance, columns: 512)
        // The search sums in float32.
        #expect(zip(least, most).allSatisfy { $0 <= $1 * (1 + 1e-5) })
      }
    }
  }

  @Test(
    "the error of random weights is smaller, and more rounds make it smaller still (seed 163)",
    arguments: zip(AffineRowsTests.superBlocks, [0.885, 0.985, 0.965]))
  func gain(type: BlockType, ratio: Double) throws {
    var random = Seeded(163)
    // Sums of uniform numbers are nearly normal.
    let values = (0..<32768).map { _ in
      (0..<8).reduce(Float(0)) { sum, _ in sum + Float.random(in: -1...1, using: &random) }
    }
    func error(_ blocks: [UInt8]) -> Double {
      errors(type, blocks, values, importance: [], columns: 1024).reduce(0, +).squareRoot()
    }
    let plain = try error(type.encodeRows(values, columnCount: 1024, on: .best).get())
    let found = try (1...3).map { rounds in
      try error(type.searchRows(values, columnCount: 1024, rounds: rounds, on: .best).get())
    }
    #expect(found[0] < ratio * plain)
    #expect(found[1] < found[0] && found[2] <= found[1])
  }

  @Test(
    "the error of random weights is smaller than that of llama.cpp (seed 165)",
    arguments: zip(
      [BlockType.q3_K, .q6_K, .iq4_NL, .iq4_XS, .tq1_0, .tq2_0, .mxfp4],
      [0.965, 0.97, 0.98, 0.98, 0.8, 0.8, 0.98]))
  func symmetricGain(type: BlockType, ratio: Double) throws {
    var random = Seeded(165)
    let values = (0..<32768).map { _ in
      (0..<8).reduce(Float(0)) { sum, _ in sum + Float.random(in: -1...1, using: &random) }
    }
    func error(_ blocks: [UInt8]) -> Double {
      errors(type, blocks, values, importance: [], columns: 1024).reduce(0, +).squareRoot()
    }
    let plain = try error(type.encodeRows(values, columnCount: 1024, on: .best).get())
    let found = try [1, 3].map { rounds in
      try error(type.searchRows(values, columnCount: 1024, rounds: rounds, on: .best).get())
    }
    #expect(found[0] < ratio * plain)
    #expect(found[1] <= found[0])
  }

  @Test("ternary weights are found exactly (seed 166)", arguments: [BlockType.tq1_0, .tq2_0])
  func ternary(type: BlockType) throws {
    var random = Seeded(166)
    let values = (0..<2048).map { _ in Float(random.below(3) - 1) * 0.0625 }
    for importance in [[], random.weights(512).map(\.magnitude)] {
      let blocks = try type.searchRows(
        values, columnCount: 512, importance: importance, on: .best
      ).get()
      let found = errors(type, blocks, values, importance: importance, columns: 512)
      #expect(found.allSatisfy { $0 == 0 })
    }
  }

  @Test("a fault is the one of encodeRows", arguments: AffineRowsTests.superBlocks)
  func faults(type: BlockType) {
    var values = [Float](repeating: 1, count: 20 * 256)
    values[17 * 256 + 3] = 1e30
    #expect(
      type.searchRows(values, columnCount: 512, on: .best)
        == .failure(GroupFault(kind: .parameterOverflow, group: 17)))
    values[9 * 256] = .nan
    #expect(
      type.searchRows(values, columnCount: 512, on: .best)
        == .failure(GroupFault(kind: .nonFiniteValue, group: 9)))
  }

  @Test("types without a search get the blocks of llama.cpp (seed 164)")
  func others() {
    var random = Seeded(164)
    let values = random.weights(4096)
    for type in BlockEncodingTests.types {
      #expect(
        type.searchRows(values, columnCount: 1024, on: .best)
          == type.encodeRows(values, columnCount: 1024, on: .best))
    }
  }
}
