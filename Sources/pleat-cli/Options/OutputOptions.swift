internal import ArgumentParser
internal import Pleat

/// The options about what is written, the same for every command that writes.
struct OutputOptions: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Where to write; never the input itself.", valueName: "path"),
    completion: .file())
  var output: String

  @Option(
    help: ArgumentHelp(
      "The format to write: \(Formats.all.map { "\($0.name) (\($0.summary))" }.joined(separator: ", ")).",
      valueName: "format"),
    completion: .list(Formats.all.map(\.name)))
  var to: String

  @Option(
    name: [.customLong("shard"), .customLong("split-max-size")],
    help: ArgumentHelp(
      "Split safetensors or gguf output into files of at most this size, such as 5GB.",
      valueName: "size"))
  var shard: ByteSize?

  @Flag(help: "Compress parts of a pleat file with zstd, where that gains something.")
  var compress = false

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

  /// Where the result goes.
  ///
  /// Throws `usage` for an unknown format.
  func destination() throws(ModelError) -> Destination {
    do throws(ModelError) {
      return Destination(
        path: output, format: try Formats.named(to), shardByteCount: shard?.byteCount,
        compresses: compress)
    } catch {
      var error = error
      let nearest = Suggestion.nearest(to: to, among: Formats.all.map(\.name))
      error.hint = nearest.map { "did you mean '--to \($0)'?" }
      throw error
    }
  }
}

/// A size with a unit: `5GB`, `500MB`, `3000000`; in powers of 1000, `GiB` in powers of 1024.
struct ByteSize: ExpressibleByArgument {
  let byteCount: Int

  init?(argument: String) {
    let digits = argument.prefix { $0.isNumber }
    let unit = argument.dropFirst(digits.count).lowercased()
    let factors = [
      "": 1, "b": 1, "k": 1000, "kb": 1000, "m": 1_000_000, "mb": 1_000_000, "g": 1_000_000_000,
      "gb": 1_000_000_000, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
    ]
    guard let count = Int(digits), count > 0, let factor = factors[unit] else { return nil }
    let (product, overflow) = count.multipliedReportingOverflow(by: factor)
    guard !overflow else { return nil }
    byteCount = product
  }
}
