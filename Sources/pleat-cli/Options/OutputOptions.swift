internal import ArgumentParser
internal import Pleat

/// The output options of the commands that require `--to`.
struct OutputOptions: ParsableArguments {
  @OptionGroup
  var writing: WritingOptions

  @Option(
    help: ArgumentHelp("The format to write: \(Self.formats).", valueName: "format"),
    completion: .list(Formats.all.map(\.name)))
  var to: String

  @OptionGroup
  var tokenizer: TokenizerOptions

  /// The names of all formats, each with its summary in parentheses.
  static let formats = Formats.all.map { "\($0.name) (\($0.summary))" }.joined(separator: ", ")

  /// The destination of the output.
  ///
  /// Throws `usage` for an unknown format, and what opening a model throws.
  func destination() throws(ModelError) -> Destination {
    try tokenizer.applied(to: try writing.destination(formatNamed: to))
  }
}
