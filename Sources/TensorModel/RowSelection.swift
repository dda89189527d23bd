/// Some rows of a tensor, in an order of their own: the rows that nested loops visit.
///
/// The row at position p is `first` + Σ digit(p, i) · `distances[i]`, where the digits are those of p
/// in the mixed base of `counts`, the last one first.
package struct RowSelection: Sendable, Hashable {
  /// The first row.
  package let first: Int
  /// How often each loop runs, outermost first.
  package let counts: [Int]
  /// The rows from one round of each loop to the next.
  package let distances: [Int]
  /// The number of rows.
  package let count: Int

  /// Selects the rows that loops visit.
  ///
  /// - Parameters:
  ///   - first: The first row.
  ///   - loops: How often each loop runs, at least once, and its distance in rows; outermost first.
  package init(from first: Int = 0, _ loops: [(count: Int, distance: Int)]) {
    precondition(!loops.isEmpty && loops.allSatisfy { $0.count > 0 && $0.distance > 0 })
    self.first = first
    counts = loops.map(\.count)
    distances = loops.map(\.distance)
    count = counts.reduce(1, *)
  }

  /// Rows with a constant distance.
  package init(from first: Int = 0, count: Int, distance: Int = 1) {
    self.init(from: first, [(count, distance)])
  }

  /// Rows with a constant distance, in a selection.
  package struct Run: Sendable, Hashable {
    /// The position of the first row in the selection.
    package var position: Int
    /// The first row.
    package var row: Int
    /// The number of rows.
    package var count: Int
    /// The rows from one to the next.
    package var distance: Int
  }

  /// The runs of the rows at some positions of several selections, one after the other.
  package static func runs(_ selections: [RowSelection], _ positions: Range<Int>) -> [Run] {
    var runs: [Run] = []
    var start = 0
    for selection in selections {
      let range = positions.clamped(to: start..<start + selection.count)
      if !range.isEmpty {
        runs += selection.runs(range.lowerBound - start..<range.upperBound - start).map {
          Run(
            position: $0.position + start, row: $0.row, count: $0.count, distance: $0.distance)
        }
      }
      start += selection.count
    }
    return runs
  }

  private func runs(_ positions: Range<Int>) -> [Run] {
    let (length, distance) = (counts[counts.count - 1], distances[distances.count - 1])
    var runs: [Run] = []
    var position = positions.lowerBound
    while position < positions.upperBound {
      let count = min(length - position % length, positions.upperBound - position)
      runs.append(Run(position: position, row: row(at: position), count: count, distance: distance))
      position += count
    }
    return runs
  }

  private func row(at position: Int) -> Int {
    var (row, rest) = (first, position)
    for (count, distance) in zip(counts, distances).reversed() {
      row += rest % count * distance
      rest /= count
    }
    return row
  }
}
