import Kernels
import TestSupport
import Testing

/// States against a plain loop.
@Suite struct StateHeadTests {
  private static let sizes = [(1, 1), (3, 8), (8, 31), (5, 32), (16, 33), (2, 70)]

  private func matrix(_ rowCount: Int, _ columnCount: Int, _ random: inout Seeded) -> FloatMatrix {
    let matrix = FloatMatrix(rowCount: rowCount, columnCount: columnCount)
    for row in 0..<rowCount { matrix.setRow(row, to: random.weights(columnCount)[...]) }
    return matrix
  }

  /// The outputs of a head, number by number.
  private func twin(
    _ head: StateHead, _ inputs: FloatMatrix, _ columns: StateHead.Columns, _ decays: [Float],
    _ rates: [Float]
  ) -> [[Float]] {
    var state = [[Float]](
      repeating: Array(repeating: 0, count: head.valueSize), count: head.keySize)
    return (0..<inputs.rowCount).map { token in
      let row = inputs.row(token)
      return (0..<head.valueSize).map { value in
        var change = row[columns.value + value]
        if head.corrects {
          var found: Float = 0
          for key in 0..<head.keySize {
            found.addProduct(state[key][value], row[columns.key + key])
          }
          change -= found * decays[token]
        }
        change *= rates[token]
        var sum: Float = 0
        for key in 0..<head.keySize {
          state[key][value] *= decays[token]
          state[key][value].addProduct(change, row[columns.key + key])
          sum.addProduct(state[key][value], row[columns.query + key])
        }
        return sum
      }
    }
  }

  @Test(
    "a head gives the bits of a plain loop, however its tokens are cut (seed 311)",
    arguments: InstructionSet.available, [true, false])
  func recurrence(set: InstructionSet, corrects: Bool) {
    var random = Seeded(311)
    for (keySize, valueSize) in Self.sizes {
      let head = StateHead(keySize: keySize, valueSize: valueSize, corrects: corrects)
      let columns = StateHead.Columns(
        query: 1, key: 2 + keySize, value: 3 + 2 * keySize)
      let inputs = matrix(7, 4 + 2 * keySize + valueSize, &random)
      let decays = random.weights(7).map { 0.5 + 0.4 * $0 }
      let rates = random.weights(7)
      let expected = twin(head, inputs, columns, decays, rates)
      for cuts in [[0..<7], [0..<1, 1..<2, 2..<6, 6..<7]] {
        let state = FloatMatrix(rowCount: 2, columnCount: head.stateCount)
        let out = FloatMatrix(rowCount: 7, columnCount: valueSize + 1)
        for rows in cuts {
          head.run(
            inputs, rows: rows, columns, decays: Array(decays[rows]), rates: Array(rates[rows]),
            state: state, stateRow: 1, into: out, column: 1, on: set)
        }
        for row in 0..<7 {
          #expect(out.row(row) == [0] + expected[row], "\(keySize)×\(valueSize)")
        }
        #expect(state.row(0).allSatisfy { $0 == 0 })
      }
    }
  }

  @Test(
    "products are added with one rounding (seed 312)", arguments: InstructionSet.available)
  func products(set: InstructionSet) {
    var random = Seeded(312)
    for count in [1, 7, 8, 9, 40] {
      let (one, other) = (matrix(2, count, &random), matrix(3, count, &random))
      let sums = matrix(2, count, &random)
      var expected = sums.row(1)
      for index in 0..<count { expected[index].addProduct(one[1, index], other[2, index]) }
      sums.addProducts(of: one, row: 1, other, row: 2, to: 1, on: set)
      #expect(sums.row(1).bits == expected.bits)
    }
  }
}
