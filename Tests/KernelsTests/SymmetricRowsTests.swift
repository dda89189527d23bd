import Kernels
import TestSupport
import Testing

@Suite struct SymmetricRowsTests {
  static let types: [BlockType] = [
    .q4_0, .q5_0, .q3_K, .q6_K, .iq4_NL, .iq4_XS, .tq1_0, .tq2_0, .mxfp4,
  ]
  /// Types whose blocks depend on importance.
  static let weighted: [BlockType] = [.q4_0, .q5_0, .q3_K, .q6_K, .iq4_NL, .iq4_XS]

  private func twin(_ type: BlockType) -> any RowsTwin {
    let isSymmetric = [.q4_0, .q5_0, .q3_K, .q6_K].contains(type)
    return isSymmetric ? SymmetricRowsTwin(type: type) : TableRowsTwin(type: type)
  }

  @Test(
    "blocks match their plain twin (seed 171)",
    arguments: types.filter { BlockEncodingTests.types.contains($0) == false })
  func plain(type: BlockType) throws {
    // Neither the blocks of a row nor all blocks fill a batch.
    let columns = type.elementCount * 3
    let values = SampleRows.values(columnCount: columns, seed: 171)
    let expected = try twin(type).encode(values, columnCount: columns, importance: []).get()
    for set in InstructionSet.available {
      #expect(type.encodeRows(values, columnCount: columns, on: set) == .success(expected))
    }
  }

  @Test("blocks with importance match their plain twin (seed 172)", arguments: weighted)
  func importance(type: BlockType) throws {
    let columns = type.elementCount * 3
    let values = SampleRows.values(columnCount: columns, seed: 172)
    for importance in SampleRows.importances(columnCount: columns, seed: 173) {
      let expected = try twin(type)
        .encode(values, columnCount: columns, importance: importance).get()
      for set in InstructionSet.available {
        let found = type.encodeRows(
          values, columnCount: columns, importance: importance, on: set)
        #expect(found == .success(expected))
      }
    }
  }

  @Test(
    "huge values have the blocks of the twin, or its fault (seed 174)",
    arguments: types.filter { $0 != .q4_0 && $0 != .q5_0 })
  func huge(type: BlockType) {
    var random = Seeded(174)
    let size = type.elementCount
    // From 1e13 on the sums overflow, and scales are infinite, NaN or 0.
    for scale: Float in [1e6, 1e8, 1e10, 1e12, 1e13, 1e15, 1e20, 1e25, 1e38] {
      let values = random.weights(5 * size) + random.weights(6 * size, scale: scale)
      let expected = twin(type).encode(values, columnCount: size, importance: [])
      for set in InstructionSet.available {
        #expect(type.encodeRows(values, columnCount: size, on: set) == expected)
      }
    }
  }

  @Test(
    "the exponent of MXFP4 is that of a logarithm in float32",
    arguments: InstructionSet.available)
  func exponents(set: InstructionSet) throws {
    var values: [Float] = []
    for exponent in -126...127 {
      let power = Float(sign: .plus, exponent: exponent, significand: 1)
      for steps: UInt32 in [0, 1, 2, 3, 5, 6, 11, 12, 22, 23, 44, 45] {
        let below = Float(bitPattern: power.bitPattern - steps)
        values += [below] + [Float](repeating: -below / 3, count: 31)
      }
    }
    let expected = try TableRowsTwin(type: .mxfp4)
      .encode(values, columnCount: 32, importance: []).get()
    #expect(BlockType.mxfp4.encodeRows(values, columnCount: 32, on: set) == .success(expected))
  }

  @Test("importance does not change types that ignore it (seed 175)")
  func ignored() {
    var random = Seeded(175)
    let values = random.weights(2048)
    let importance = random.weights(512).map(\.magnitude)
    for type in [BlockType.tq1_0, .tq2_0, .mxfp4, .q8_0] {
      #expect(
        type.encodeRows(values, columnCount: 512, importance: importance, on: .best)
          == type.encodeRows(values, columnCount: 512, on: .best))
    }
  }

  @Test(
    "a value that is not finite is reported with its block (seed 176)",
    arguments: InstructionSet.available, types)
  func nonFinite(set: InstructionSet, type: BlockType) {
    var random = Seeded(176)
    let size = type.elementCount
    let values = random.weights(35 * size)
    let importance = [Float](repeating: 1, count: 5 * size)
    for block in [0, 1, 15, 16, 33, 34] {
      for value: Float in [.nan, -.nan, .infinity, -.infinity] {
        var broken = values
        broken[block * size + size / 2] = value
        broken[35 * size - 1] = .nan
        let fault = GroupFault(kind: .nonFiniteValue, group: block)
        #expect(
          type.encodeRows(broken, columnCount: 5 * size, importance: importance, on: set)
            == .failure(fault))
        #expect(type.encodeRows(broken, columnCount: 5 * size, on: set) == .failure(fault))
        #expect(type.searchRows(broken, columnCount: 5 * size, on: set) == .failure(fault))
      }
    }
  }

  @Test(
    "a scale that overflows its format is reported", arguments: InstructionSet.available,
    types.filter { $0 != .mxfp4 })
  func overflow(set: InstructionSet, type: BlockType) {
    let size = type.elementCount
    let importance = [Float](repeating: 1, count: size)
    for value: Float in [-1e9, 1e9] {
      var values = [Float](repeating: 1, count: 20 * size)
      for i in stride(from: 17 * size, to: 18 * size, by: 3) { values[i] = value }
      let fault = GroupFault(kind: .parameterOverflow, group: 17)
      #expect(
        type.encodeRows(values, columnCount: size, importance: importance, on: set)
          == .failure(fault))
      #expect(type.encodeRows(values, columnCount: size, on: set) == .failure(fault))
    }
  }

  @Test("encoding no rows succeeds", arguments: InstructionSet.available, types)
  func empty(set: InstructionSet, type: BlockType) {
    #expect(type.encodeRows([], columnCount: 256, on: set) == .success([]))
    #expect(type.searchRows([], columnCount: 256, on: set) == .success([]))
  }
}
