internal import ArgumentParser
internal import Pleat

/// The command: it parses arguments, runs one subcommand, and turns errors into exit statuses.
@main
struct PleatCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pleat",
    abstract: "Quantize language models, fold adapters into them, and check the result.",
    discussion: """
      A model is a .safetensors, .gguf or .pleat file, a directory with a config.json, or a shard \
      index (.safetensors.index.json).

      Examples:
        pleat inspect model/
        pleat quantize model/ --to pleat --bits 4 -o model.pleat
        pleat fold model.pleat --adapter qa-lora/ -o tuned.pleat
        pleat verify model.pleat --against model/
        pleat convert model.pleat --to safetensors -o back/
      """,
    version: PleatVersion.text,
    groupedSubcommands: [
      CommandGroup(name: "Read-only", subcommands: [Inspect.self, Verify.self]),
      CommandGroup(
        name: "Running",
        subcommands: [
          RunModel.self, Eval.self, Calibrate.self, Tokenize.self,
        ]),
      CommandGroup(
        name: "Writing",
        subcommands: [
          Quantize.self, Convert.self, Fold.self, Attach.self, Finish.self, EditMetadata.self,
        ]),
    ])

  static func main() {
    // A write to a closed pipe shall fail with an error, not end the process.
    Terminal.ignoreClosedPipes()
    let arguments = Array(CommandLine.arguments.dropFirst())
    do {
      try Suggestion.checkSubcommand(arguments.first, of: configuration)
      var command = try parseAsRoot(arguments)
      try command.run()
    } catch let error as ModelError {
      Console.printError(error)
      exit(ExitStatus(error.kind))
    } catch let status as ExitStatus {
      exit(status)
    } catch {
      if exitCode(for: error) == .success { exit(withError: error) }
      Console.printError(usage: message(for: error), help: helpPath(arguments))
      exit(.usage)
    }
  }

  private static func exit(_ status: ExitStatus) -> Never {
    exit(withError: ExitCode(status.rawValue))
  }

  private static func helpPath(_ arguments: [String]) -> String {
    let names = configuration.allSubcommands.flatMap { $0.names }
    guard let first = arguments.first, names.contains(first) else { return "pleat --help" }
    return "pleat \(first) --help"
  }
}

extension CommandConfiguration {
  /// The subcommands of all groups.
  var allSubcommands: [any ParsableCommand.Type] {
    groupedSubcommands.flatMap(\.subcommands)
  }
}

extension ParsableCommand {
  /// The command's name and aliases.
  static var names: [String] {
    [configuration.commandName ?? _commandName] + configuration.aliases
  }
}
