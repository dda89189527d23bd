/// Suggestions for misspelled names.
public enum NearName {
  /// The known names that are most similar to a given one, the most similar first.
  ///
  /// - Parameters:
  ///   - name: The given name.
  ///   - names: The known names.
  ///   - count: The largest number of names to return.
  /// - Returns: The names within an edit distance of a third of the length of `name`, at least 1.
  public static func nearest(to name: String, among names: [String], count: Int) -> [String] {
    let limit = max(1, name.count / 3)
    return names.enumerated().map { ($0.offset, $0.element, distance(name, $0.element)) }
      .filter { $0.2 <= limit }.sorted { ($0.2, $0.0) < ($1.2, $1.0) }.prefix(count).map(\.1)
  }

  /// The edit distance between two names, in bytes.
  ///
  /// Counts insertions, deletions, substitutions, and swaps of adjacent bytes.
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
