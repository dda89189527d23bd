/// Names that may be what somebody meant.
public enum NearName {
  /// The names with the fewest changes to a name, the nearest first.
  ///
  /// - Parameters:
  ///   - name: What was written.
  ///   - names: What would have been right.
  ///   - count: How many to give at most.
  /// - Returns: Names within a third of the letters of `name`, at least one change.
  public static func nearest(to name: String, among names: [String], count: Int) -> [String] {
    let limit = max(1, name.count / 3)
    return names.enumerated().map { ($0.offset, $0.element, distance(name, $0.element)) }
      .filter { $0.2 <= limit }.sorted { ($0.2, $0.0) < ($1.2, $1.0) }.prefix(count).map(\.1)
  }

  /// Insertions, deletions, substitutions and swaps of neighbours that turn one name into another.
  public static func distance(_ left: String, _ right: String) -> Int {
    let (left, right) = (Array(left.utf8), Array(right.utf8))
    guard !left.isEmpty else { return right.count }
    var older = [Int](repeating: 0, count: right.count + 1)
    var last = Array(0...right.count)
    var row = last
    for i in left.indices {
      row[0] = i + 1
      for j in right.indices {
        var cost = min(row[j] + 1, last[j + 1] + 1, last[j] + (left[i] == right[j] ? 0 : 1))
        if i > 0, j > 0, left[i] == right[j - 1], left[i - 1] == right[j] {
          cost = min(cost, older[j - 1] + 1)
        }
        row[j + 1] = cost
      }
      (older, last, row) = (last, row, older)
    }
    return last[right.count]
  }
}
