internal import ArgumentParser
internal import Pleat

/// `pleat finish`: makes an output of the parts that several runs have written.
struct Finish: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "finish",
    abstract: "Make an output of its parts.",
    usage: "pleat finish <output> [options]",
    discussion: """
      Checks that every part of 'pleat quantize --part i/n' and the like is there and whole, and \
      that inputs have not changed. Writes what no part has written, and gives the output its \
      name. It has the same bytes as the output of one run.

      Examples:
        pleat finish model-q4.gguf
        pleat finish model-mlx/ --force
      """)

  @Argument(help: "The output, as the parts named it.", completion: .file())
  var output: String

  struct Options: ParsableArguments {
    @Flag(help: "Replace the output if it exists.")
    var force = false

    @Option(
      name: .shortAndLong,
      help: ArgumentHelp(
        "Number of threads that read the parts back. (default: one per processor)",
        valueName: "count"))
    var threads: Int?

    func validate() throws {
      if let threads, threads < 1 { throw ValidationError("--threads must be at least 1") }
    }
  }

  @OptionGroup(title: "Output")
  var options: Options

  @OptionGroup(title: "Console")
  var consoleOptions: ConsoleOptions

  func run() throws {
    let console = consoleOptions.console
    guard let begun = try BegunParts(of: output) else {
      guard BegunParts.isWritten(output) else {
        throw ModelError(
          .usage, "no part of this output was written", file: output,
          hint: "write them first, with --part 1/n to --part n/n")
      }
      return console.note("nothing to do: \(output) exists, and no parts of it are left")
    }
    try begun.enter()
    guard let command = try PleatCommand.parseAsRoot(begun.arguments) as? any PartedCommand else {
      throw ModelError(
        .malformed, "the parts were not begun by a command that writes parts", file: begun.path,
        found: begun.arguments.first)
    }
    try command.finish(begun, options, console)
  }
}
