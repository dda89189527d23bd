internal import ArgumentParser
internal import Pleat

/// Suggestions for misspelled words.
enum Suggestion {
  /// The most similar word; nil if none is similar enough.
  static func nearest(to word: String, among words: [String]) -> String? {
    NearName.nearest(to: word, among: words, count: 1).first
  }

  /// Throws `usage` for a first argument that is neither an option nor a subcommand.
  static func checkSubcommand(
    _ word: String?, of configuration: CommandConfiguration
  ) throws(ModelError) {
    guard let word, !word.hasPrefix("-"), word != "help" else { return }
    let names = configuration.allSubcommands.flatMap { $0.names }
    guard !names.contains(word) else { return }
    throw ModelError(
      .usage, "unknown subcommand '\(word)'",
      expected: configuration.allSubcommands.compactMap { $0.names.first }.joined(separator: ", "),
      hint: nearest(to: word, among: names).map { "did you mean 'pleat \($0)'?" }
        ?? "see 'pleat --help'")
  }
}
