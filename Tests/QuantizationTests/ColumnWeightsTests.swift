import Quantization
import Testing

/// The weights of columns, and those that a search of blocks uses.
@Suite struct ColumnWeightsTests {
  @Test("a floored weight is at least a millionth of the mean, and 1 if all are 0") func floor() {
    let weights = ColumnWeights([0, 4, 2, 2])
    #expect(weights.values == [0, 4, 2, 2])
    #expect(weights.floored == [2 * 1e-6, 4, 2, 2])
    #expect(ColumnWeights([0, 0]).floored == [1, 1])
  }

  @Test("a matrix is asked for once for adjacent rows, and the last one for rows beyond it")
  func matrices() {
    var asked: [Int] = []
    _ = ImportanceRows(2..<9, rowsPerMatrix: 3, matrixCount: 2) { matrix in
      asked.append(matrix)
      return ColumnWeights([1])
    }
    #expect(asked == [0, 1])
  }
}
