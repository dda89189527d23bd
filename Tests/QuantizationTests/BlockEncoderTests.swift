import Kernels
import LawSupport
import Quantization
import TensorModel
import TestSupport
import Testing

/// Encoders for blocks of llama.cpp.
@Suite struct BlockEncoderTests {
  static let columnCount = 512
  static let schemes: [Scheme] = [.ggml, .search]

  private func encode(
    _ values: [Float], _ type: BlockType, _ scheme: Scheme, _ importance: StackImportance? = nil,
    firstRow: Int = 0
  ) throws -> [UInt8] {
    let encoder = try #require(
      scheme.encoder(type, columnCount: Self.columnCount))
    #expect(encoder.encoding == type.encoding)
    var bytes = [UInt8](
      repeating: 0xaa, count: values.count / type.elementCount * type.byteCount)
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    let rows = firstRow..<firstRow + values.count / Self.columnCount
    try encoder.encode(values, weighing: importance?.rows(rows), into: &raw)
    return bytes
  }

  private func importance(matrices: Int, rows: Int, seed: UInt64) -> StackImportance {
    var random = Seeded(seed)
    let values = random.weights(matrices * Self.columnCount).map(\.magnitude)
    return StackImportance(values: values, columnCount: Self.columnCount, rowsPerMatrix: rows)
  }

  @Test("each matrix of a stack has its own importance, wherever blocks begin (seed 190)")
  func stacks() throws {
    var random = Seeded(190)
    let values = random.weights(9 * Self.columnCount, scale: 0.1)
    let weights = importance(matrices: 3, rows: 3, seed: 191)
    for scheme in Self.schemes {
      let whole = try encode(values, .q4_K, scheme, weights)
      let rowBytes = whole.count / 9
      for (first, count) in [(0, 2), (2, 3), (4, 5), (8, 1)] {
        let piece = Array(values[first * Self.columnCount..<(first + count) * Self.columnCount])
        let found = try encode(piece, .q4_K, scheme, weights, firstRow: first)
        #expect(found == Array(whole[first * rowBytes..<(first + count) * rowBytes]))
      }
      let plain = try encode(values, .q4_K, scheme)
      #expect(plain != whole)
    }
  }

  @Test("rows that an adapter adds to a table have the importance of the last matrix")
  func addedRows() throws {
    var random = Seeded(192)
    let values = random.weights(4 * Self.columnCount, scale: 0.1)
    let short = importance(matrices: 1, rows: 2, seed: 193)
    let long = StackImportance(
      values: short.values, columnCount: Self.columnCount, rowsPerMatrix: 4)
    #expect(try encode(values, .q6_K, .ggml, short) == encode(values, .q6_K, .ggml, long))
  }

  @Test(
    "the search gives columns without importance codes, too",
    arguments: [
      BlockType.q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .iq4_NL, .iq4_XS,
    ])
  func unreachedColumns(type: BlockType) throws {
    var random = Seeded(194)
    let values = random.weights(2 * Self.columnCount, scale: 0.1)
    var weights = [Float](repeating: 1, count: Self.columnCount)
    for column in 64..<96 { weights[column] = 0 }
    for numbers in [weights, [Float](repeating: 0, count: Self.columnCount)] {
      let importance = StackImportance(
        values: numbers, columnCount: Self.columnCount, rowsPerMatrix: 2)
      let bytes = try encode(values, type, .search, importance)
      var decoded = [Float](repeating: 0, count: values.count)
      var span = decoded.mutableSpan
      type.decode(bytes.span, into: &span)
      for column in 64..<96 {
        let error = (decoded[column] - values[column]).magnitude
        #expect(error <= 0.7 * values[column].magnitude + 0.05, "\(column)")
      }
      #expect(decoded[64..<96].contains { $0 != 0 })
    }
  }

  @Test("a fault has the index of its block among all rows", arguments: [Float.nan, 0x1p30])
  func faults(value: Float) throws {
    var values = [Float](repeating: 0.5, count: 6 * Self.columnCount)
    values[4 * Self.columnCount + 300] = value
    let weights = importance(matrices: 3, rows: 2, seed: 195)
    for scheme in Self.schemes {
      let fault = #expect(throws: GroupFault.self) {
        try encode(values, .q3_K, scheme, weights)
      }
      let kind: GroupFault.Kind = value.isNaN ? .nonFiniteValue : .parameterOverflow
      #expect(fault == GroupFault(kind: kind, group: 9))
    }
  }
}
