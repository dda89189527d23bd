internal import ArgumentParser
internal import Pleat

/// The output options that all writing commands share.
struct WritingOptions: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Path of the output; must differ from the input.", valueName: "path"),
    completion: .file())
  var output: String

  @Option(
    name: [.customLong("shard"), .customLong("split-max-size")],
    help: ArgumentHelp(
      "Split the output into files of at most this size, such as 5GB; not for pleat files.",
      valueName: "size"))
  var shard: ByteSize?

  @Flag(help: "Compress the parts of a pleat file with zstd where this makes them smaller.")
  var compress = false

  @Flag(help: "Re-read and compare the output before it is renamed into place.")
  var verify = false

  @Flag(
    help: """
      Continue a stopped run of the same command: reuse the files that it finished. If this run \
      is stopped, keep its finished files. Needs output in several files.
      """)
  var resume = false

  @Flag(help: "Replace the output if it exists.")
  var force = false

  @Flag(
    name: [.customShort("n"), .long],
    help: "Print the plan and the expected size; write nothing.")
  var dryRun = false

  @Option(
    help: ArgumentHelp(
      """
      Write one of several parts, such as 3/7, on this or another machine; 'pleat finish' then \
      makes the output. With auto, the number is that of a task of Slurm; with auto/7 also that \
      of Kubernetes or AWS Batch.
      """, valueName: "i/n"))
  var part: String?

  @Option(
    help: ArgumentHelp(
      """
      With --dry-run: print how long each of this many parts of the work would take, and how much \
      memory, with as many threads as --threads states, or two.
      """, valueName: "count"))
  var parts: Int?

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "Number of worker threads; it does not change the output. (default: one per processor)",
      valueName: "count"))
  var threads: Int?

  func validate() throws {
    if let threads, threads < 1 { throw ValidationError("--threads must be at least 1") }
    if parts != nil, !dryRun { throw ValidationError("--parts needs --dry-run") }
    guard part != nil else { return }
    if resume {
      throw ValidationError("a part always goes on where it stopped: leave out --resume")
    }
    if verify {
      throw ValidationError("'pleat finish' always reads the parts back: leave out --verify")
    }
  }

  /// The line that reports a successful `--verify`; none without `--verify`.
  var readBackLines: [String] { verify ? ["read back from the disk: equal"] : [] }

  /// The part of `--part`; nil without the option.
  ///
  /// Throws `usage`.
  func partNumber() throws(ModelError) -> PartNumber? {
    try part.map { (text) throws(ModelError) in
      try PartNumber(text: text, variable: Terminal.variable)
    }
  }

  /// A note if the suffix of the output belongs to another format than the one that is written.
  func suffixNote(_ format: Format) -> String? {
    guard !format.suits(path: output) else { return nil }
    return "the output is written as \(format.name), although its name is \(output)"
  }

  /// The destination of the output in a format.
  func destination(_ format: Format) -> Destination {
    Destination(
      path: output, format: format, shardByteCount: shard?.byteCount, compresses: compress)
  }

  /// The destination of the output in the format that the user named.
  ///
  /// Throws `usage` for an unknown format.
  func destination(formatNamed name: String) throws(ModelError) -> Destination {
    do throws(ModelError) { return destination(try Formats.named(name)) } catch {
      var error = error
      let nearest = Suggestion.nearest(to: name, among: Formats.all.map(\.name))
      error.hint = nearest.map { "did you mean '--to \($0)'?" }
      throw error
    }
  }
}
