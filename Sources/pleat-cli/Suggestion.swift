internal import ArgumentParser
internal import Pleat

/// "Did you mean": the nearest of the words that would have been right.
enum Suggestion {
  /// The nearest word, when it is near enough to be what was meant.
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
