internal import ArgumentParser
internal import Pleat

/// The options about writing, the same for every command that does.
struct WritingOptions: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Where to write; never the input itself.", valueName: "path"),
    completion: .file())
  var output: String

  @Option(
    name: [.customLong("shard"), .customLong("split-max-size")],
    help: ArgumentHelp(
      "Split safetensors, mlx or gguf output into files of at most this size, such as 5GB.",
      valueName: "size"))
  var shard: ByteSize?

  @Flag(help: "Compress parts of a pleat file with zstd, where that gains something.")
  var compress = false

  @Flag(help: "Read what was written back from the disk, and compare it, before it gets its name.")
  var verify = false

  @Flag(
    help: """
      Go on from the files that a stopped run of the same command has finished, and keep those of \
      this one when it is stopped; for output in several files.
      """)
  var resume = false

  @Flag(help: "Replace the output if it exists.")
  var force = false

  @Flag(
    name: [.customShort("n"), .long],
    help: "Print the plan and the size to expect; write nothing.")
  var dryRun = false

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "Worker threads; the output bytes do not depend on it. (default: one a processor)",
      valueName: "count"))
  var threads: Int?

  func validate() throws {
    if let threads, threads < 1 { throw ValidationError("--threads must be at least 1") }
  }

  /// What is said of reading back, where it was asked for and found nothing wrong.
  var readBackLines: [String] { verify ? ["read back from the disk: equal"] : [] }

  /// Where the result goes, in a format.
  func destination(_ format: Format) -> Destination {
    Destination(
      path: output, format: format, shardByteCount: shard?.byteCount, compresses: compress)
  }

  /// Where the result goes, in a format that the user named.
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
