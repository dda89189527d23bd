internal import ArgumentParser
internal import Pleat

/// "Did you mean": the nearest of the words that would have been right.
enum Suggestion {
  /// The nearest word, when it is near enough to be what was meant.
  static func nearest(to word: String, among words: [String]) -> String? {
    let best = words.map { ($0, distance(word, $0)) }.min { $0.1 < $1.1 }
    guard let best, best.1 <= max(1, word.count / 3) else { return nil }
    return best.0
  }

  /// Throws `usage` for a first argument that is neither an option nor a subcommand.
  static func checkSubcommand(
    _ word: String?, of configuration: CommandConfiguration
  ) throws(ModelError) {
    let names = configuration.allSubcommands.flatMap { $0.names }
    guard let word, !word.hasPrefix("-"), !names.contains(word), word != "help" else { return }
    throw ModelError(
      .usage, "unknown subcommand '\(word)'",
      expected: configuration.allSubcommands.compactMap { $0.names.first }.joined(separator: ", "),
      hint: nearest(to: word, among: names).map { "did you mean 'pleat \($0)'?" }
        ?? "see 'pleat --help'")
  }

  /// Insertions, deletions, substitutions and swaps of neighbours that turn one word into another.
  static func distance(_ left: String, _ right: String) -> Int {
    let (left, right) = (Array(left), Array(right))
    var rows = [Array(0...right.count)]
    for (i, letter) in left.enumerated() {
      var row = [i + 1]
      for (j, other) in right.enumerated() {
        var cost = min(row[j] + 1, rows[i][j + 1] + 1, rows[i][j] + (letter == other ? 0 : 1))
        if i > 0, j > 0, letter == right[j - 1], left[i - 1] == other {
          cost = min(cost, rows[i - 1][j - 1] + 1)
        }
        row.append(cost)
      }
      rows.append(row)
    }
    return rows[left.count][right.count]
  }
}
