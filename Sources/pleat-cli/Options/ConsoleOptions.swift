internal import ArgumentParser
internal import Pleat

/// The options about talking, the same for every command.
struct ConsoleOptions: ParsableArguments {
  /// When colour is used.
  enum ColorChoice: String, ExpressibleByArgument, CaseIterable {
    case auto
    case always
    case never
  }

  @Flag(help: "Print one JSON document to standard output instead of text.")
  var json = false

  @Flag(name: .shortAndLong, help: "Print errors only.")
  var quiet = false

  @Flag(name: .shortAndLong, help: "Explain each decision, tensor by tensor.")
  var verbose = false

  @Option(help: ArgumentHelp("When to use colour; NO_COLOR is honoured.", valueName: "when"))
  var color = ColorChoice.auto

  func validate() throws {
    if json && quiet { throw ValidationError("--json and --quiet exclude each other") }
  }

  /// The console that the options ask for.
  var console: Console {
    let isOn =
      switch color {
      case .auto: Terminal.showsColor(1)
      case .always: true
      case .never: false
      }
    return Console(
      mode: json ? .json : quiet ? .quiet : .text, isVerbose: verbose, style: Style(isOn: isOn))
  }
}
