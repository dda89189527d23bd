import Kernels
import Quantization
import TensorModel
import TestSupport
import Testing

/// How the search uses the importance of columns and the effort.
@Suite struct SearchQuantizerTests {
  private static let columnCount = 128
  private static let groupSize = 32

  private static func encode(
    _ values: [Float], _ offset: Grouping.Offset, _ importance: StackImportance?,
    _ effort: Effort = .default, firstRow: Int = 0
  ) throws -> GroupedRows {
    let grouping = Grouping(bits: 3, groupSize: groupSize, offset: offset, parameters: .f16)
    let rows = GroupedRows(
      grouping: grouping, columnCount: columnCount, rowCount: values.count / columnCount)
    try Scheme.search.quantizer(grouping, effort: effort).encode(
      values, weighing: importance?.rows(firstRow..<firstRow + rows.rowCount), into: rows)
    return rows
  }

  /// The sum of weight · error² over all values.
  private static func error(
    _ rows: GroupedRows, _ values: [Float], _ importance: StackImportance?, firstRow: Int = 0
  ) -> Double {
    var decoded: [Float] = []
    rows.decodeAll(into: &decoded)
    return values.indices.reduce(0) { sum, index in
      let row = firstRow + index / columnCount
      let weight = importance.map { $0.weights(ofRow: row)[index % columnCount] }
      let error = Double(values[index]) - Double(decoded[index])
      return sum + error * error * Double(weight ?? 1)
    }
  }

  private static func importance(matrices: Int, rows: Int, seed: UInt64) -> StackImportance {
    var random = Seeded(seed)
    return StackImportance(
      values: random.weights(matrices * columnCount).map { $0 * $0 }, columnCount: columnCount,
      rowsPerMatrix: rows)
  }

  @Test(
    "importance lowers the error that it weighs (seed 141)", arguments: Grouping.Offset.allCases)
  func importance(offset: Grouping.Offset) throws {
    var random = Seeded(141)
    let values = random.weights(40 * Self.columnCount, scale: 0.1)
    let importance = Self.importance(matrices: 1, rows: 40, seed: 142)
    let weighted = try Self.encode(values, offset, importance)
    let plain = try Self.encode(values, offset, nil)
    #expect(
      Self.error(weighted, values, importance) < 0.9 * Self.error(plain, values, importance))
    #expect(Self.error(weighted, values, nil) > Self.error(plain, values, nil))
  }

  @Test(
    "each matrix of a stack is encoded with its own weights, wherever blocks begin (seed 143)",
    arguments: Grouping.Offset.allCases)
  func stacks(offset: Grouping.Offset) throws {
    var random = Seeded(143)
    let rowCount = 5
    let values = random.weights(4 * rowCount * Self.columnCount, scale: 0.1)
    let importance = Self.importance(matrices: 4, rows: rowCount, seed: 144)
    let whole = try Self.encode(values, offset, importance)
    for first in [0, 3, 5, 9] {
      for count in [1, 4, 11] {
        let piece = Array(values[first * Self.columnCount..<(first + count) * Self.columnCount])
        let rows = try Self.encode(piece, offset, importance, firstRow: first)
        let codes = first * Self.columnCount..<(first + count) * Self.columnCount
        let groups = first * whole.groupCount..<(first + count) * whole.groupCount
        #expect(rows.codes == Array(whole.codes[codes]))
        #expect(rows.scales == Array(whole.scales[groups]))
        if offset == .bias { #expect(rows.biases == Array(whole.biases[groups])) }
        if offset == .zeroPoint { #expect(rows.zeros == Array(whole.zeros[groups])) }
      }
    }
    for matrix in 0..<4 {
      let own = StackImportance(
        values: importance.weights(ofMatrix: matrix),
        columnCount: Self.columnCount, rowsPerMatrix: rowCount)
      let codes = matrix * rowCount * Self.columnCount..<(matrix + 1) * rowCount * Self.columnCount
      let alone = try Self.encode(Array(values[codes]), offset, own)
      #expect(alone.codes == Array(whole.codes[codes]))
    }
  }

  @Test(
    "more effort lowers the error, and never raises it (seed 145)",
    arguments: Grouping.Offset.allCases)
  func effort(offset: Grouping.Offset) throws {
    var random = Seeded(145)
    let values = random.weights(40 * Self.columnCount, scale: 0.1)
    let errors = try Effort.allCases.map {
      Self.error(try Self.encode(values, offset, nil, $0), values, nil)
    }
    // The last stage may find nothing better; decoded numbers are rounded to binary32.
    #expect(errors[1] < errors[0] && errors[2] <= errors[1] * (1 + 1e-6))
  }

  @Test("a fault has the index of its group among all rows")
  func faults() throws {
    var values = [Float](repeating: 0.5, count: 6 * Self.columnCount)
    values[4 * Self.columnCount + 3 * Self.groupSize + 1] = .nan
    let importance = Self.importance(matrices: 3, rows: 2, seed: 146)
    let fault = #expect(throws: GroupFault.self) {
      try Self.encode(values, .bias, importance)
    }
    #expect(fault == GroupFault(kind: .nonFiniteValue, group: 19))
  }
}
