internal import ArgumentParser
internal import Pleat

/// The options about what is written, the same for every command that has to be told the format.
struct OutputOptions: ParsableArguments {
  @OptionGroup
  var writing: WritingOptions

  @Option(
    help: ArgumentHelp("The format to write: \(Self.formats).", valueName: "format"),
    completion: .list(Formats.all.map(\.name)))
  var to: String

  @OptionGroup
  var tokenizer: TokenizerOptions

  /// All formats, each with what it is in brackets.
  static let formats = Formats.all.map { "\($0.name) (\($0.summary))" }.joined(separator: ", ")

  /// Where the result goes.
  ///
  /// Throws `usage` for an unknown format, and what opening a model throws.
  func destination() throws(ModelError) -> Destination {
    try tokenizer.applied(to: try writing.destination(formatNamed: to))
  }
}
