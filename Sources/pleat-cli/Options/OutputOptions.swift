internal import ArgumentParser
internal import Pleat

/// The output options of the commands that need a format to write.
struct OutputOptions: ParsableArguments {
  @OptionGroup
  var writing: WritingOptions

  @Option(
    help: ArgumentHelp(
      "The format to write: \(Self.formats). (default: by the suffix of the output: \(suffixes))",
      valueName: "format"),
    completion: .list(Formats.all.map(\.name)))
  var to: String?

  @OptionGroup
  var tokenizer: TokenizerOptions

  /// The names of all formats, each with its summary in parentheses.
  static let formats = Formats.all.map { "\($0.name) (\($0.summary))" }.joined(separator: ", ")

  private static let suffixes = Formats.suffixes.choices

  func validate() throws {
    guard to == nil, Formats.suggested(byPath: writing.output) == nil else { return }
    throw ValidationError(
      "Missing expected argument '--to <format>': "
        + "\(Formats.all.map(\.name).choices), or an output that ends in \(Self.suffixes)")
  }

  /// The destination of the output.
  ///
  /// Throws `usage` for an unknown format, and what opening a model throws.
  func destination() throws(ModelError) -> Destination {
    let suggested = Formats.suggested(byPath: writing.output)
    let name = to ?? suggested?.name ?? ""
    return try tokenizer.applied(to: try writing.destination(formatNamed: name))
  }
}
