import TensorModel
import TestSupport
import Testing

@Suite struct RowSelectionTests {
  /// The rows that nested loops visit, one by one.
  private func rows(from first: Int, _ loops: ArraySlice<(count: Int, distance: Int)>) -> [Int] {
    guard let loop = loops.first else { return [first] }
    return (0..<loop.count).flatMap {
      rows(from: first + $0 * loop.distance, loops.dropFirst())
    }
  }

  private func rows(_ runs: [RowSelection.Run]) -> [Int] {
    runs.flatMap { run in (0..<run.count).map { run.row + $0 * run.distance } }
  }

  @Test("runs have the rows of the loops, whatever positions are asked for (seed 611)")
  func runs() {
    var random = Seeded(611)
    for _ in 0..<300 {
      var expected: [Int] = []
      let selections = (0..<Int.random(in: 1...3, using: &random)).map { _ in
        let loops = (0..<Int.random(in: 1...3, using: &random)).map { _ in
          (
            count: Int.random(in: 1...5, using: &random),
            distance: Int.random(in: 1...40, using: &random)
          )
        }
        let first = Int.random(in: 0...20, using: &random)
        let own = rows(from: first, loops[...])
        expected += own
        let selection = RowSelection(from: first, loops)
        #expect(selection.count == own.count)
        return selection
      }
      let lower = Int.random(in: 0...expected.count, using: &random)
      let range = lower..<Int.random(in: lower...expected.count, using: &random)
      let found = RowSelection.runs(selections, range)
      #expect(rows(found) == Array(expected[range]))
      var position = range.lowerBound
      for run in found {
        #expect(run.position == position)
        position += run.count
      }
    }
  }

  @Test("columns move in runs that stay together")
  func columns() {
    let order = TensorView.ColumnOrder(
      runLength: 2, runs: RowSelection([(count: 2, distance: 1), (count: 2, distance: 2)]))
    #expect(order.applied(to: [0, 1, 2, 3, 4, 5, 6, 7]) == [0, 1, 4, 5, 2, 3, 6, 7])
  }
}
