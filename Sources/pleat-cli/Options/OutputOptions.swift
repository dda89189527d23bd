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
  var companions: CompanionOptions

  /// The names of all formats, each with its summary in parentheses.
  static let formats = Formats.all.map { "\($0.name) (\($0.summary))" }.joined(separator: ", ")

  private static let suffixes = Formats.suffixes.choices

  func validate() throws {
    guard to == nil, Formats.suggested(byPath: writing.output) == nil,
      ImportanceCopy.form(suggestedBy: writing.output) == nil
    else { return }
    throw ValidationError(Self.missingFormat)
  }

  private static let missingFormat =
    "Missing expected argument '--to <format>': "
    + "\(Formats.all.map(\.name).choices), or an output that ends in \(suffixes)"

  /// The names of the given options that matter for models only.
  var modelOptions: [String] {
    [
      ("--shard", writing.shard != nil), ("--compress", writing.compress),
      ("--resume", writing.resume), ("--part", writing.part != nil),
      ("--parts", writing.parts != nil),
      ("--tokenizer-pre", companions.tokenizerPre != nil),
      ("--tokenizer-from", companions.tokenizerFrom != nil),
      ("--config-from", companions.configFrom != nil),
    ].filter(\.1).map(\.0)
  }

  /// The destination of the output.
  ///
  /// Throws `usage` for an unknown format, and what opening a model throws.
  func destination() throws(ModelError) -> Destination {
    guard let name = to ?? Formats.suggested(byPath: writing.output)?.name else {
      throw ModelError(.usage, Self.missingFormat)
    }
    return try companions.applied(to: try writing.destination(formatNamed: name))
  }
}
