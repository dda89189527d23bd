import Kernels
import TestSupport
import Testing

/// Products whose sums have one order, whatever the tiles and the instruction set.
@Suite struct MatrixProductTests {
  private func matrix(_ rows: Int, _ columns: Int, _ random: inout Seeded) -> FloatMatrix {
    let matrix = FloatMatrix(rowCount: rows, columnCount: columns)
    for row in 0..<rows { matrix.setRow(row, to: random.weights(columns)[...]) }
    return matrix
  }

  /// Σ x[k] · w[k] in the order of k, each step rounded once.
  private func chain(_ x: some Sequence<Float>, _ w: some Sequence<Float>) -> Float {
    zip(x, w).reduce(0) { $0.addingProduct($1.0, $1.1) }
  }

  @Test(
    "products with rows are chains of fused steps (seed 181)", arguments: InstructionSet.available,
    [1, 2, 5, 6, 7, 12, 13])
  func rows(set: InstructionSet, count: Int) {
    var random = Seeded(181)
    for columns in [1, 7, 8, 31, 255, 256, 257, 600] {
      for rowCount in [1, 15, 16, 17, 40, 64, 95] {
        let x = matrix(count + 1, columns + 2, &random)
        let weights = random.weights(rowCount * columns)
        let out = FloatMatrix(rowCount: count + 1, columnCount: rowCount + 3)
        PackedRows(x, rows: 1..<count + 1, columns: 2..<columns + 2, on: set)
          .multiply(weights.span, rowCount: rowCount, into: out, row: 1, column: 2)
        for i in 0..<count {
          for j in 0..<rowCount {
            let expected = chain(
              x.row(i + 1).dropFirst(2), weights[j * columns..<(j + 1) * columns])
            #expect(out[i + 1, j + 2].bitPattern == expected.bitPattern)
          }
        }
        // Nothing else is written.
        #expect(out.row(0).allSatisfy { $0 == 0 })
        #expect((0...count).allSatisfy { out[$0, 0] == 0 && out[$0, rowCount + 2] == 0 })
      }
    }
  }

  @Test(
    "products with rows and columns of a matrix are the same chains (seed 182)",
    arguments: InstructionSet.available, [1, 6, 11])
  func columns(set: InstructionSet, count: Int) {
    var random = Seeded(182)
    for (depth, width) in [(1, 1), (9, 16), (256, 33), (300, 5), (97, 64), (200, 145)] {
      let x = matrix(count, depth, &random)
      let right = matrix(depth + 2, width + 1, &random)
      let out = FloatMatrix(rowCount: count, columnCount: width)
      let packed = PackedRows(x, rows: 0..<count, columns: 0..<depth, on: set)
      packed.multiply(
        columnsOf: right, 1..<width + 1, rows: 2..<depth + 2, into: out, row: 0, column: 0)
      let others = matrix(width + 1, depth + 1, &random)
      let second = FloatMatrix(rowCount: count, columnCount: width)
      packed.multiply(
        rowsOf: others, 1..<width + 1, columns: 1..<depth + 1, into: second)
      for i in 0..<count {
        for j in 0..<width {
          let first = chain(x.row(i), (0..<depth).map { right[$0 + 2, j + 1] })
          #expect(out[i, j].bitPattern == first.bitPattern)
          let other = chain(x.row(i), others.row(j + 1).dropFirst())
          #expect(second[i, j].bitPattern == other.bitPattern)
        }
      }
    }
  }
}
