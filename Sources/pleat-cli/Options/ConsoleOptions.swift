internal import ArgumentParser
internal import Pleat

/// The options for console output, shared by all commands.
struct ConsoleOptions: ParsableArguments {
  /// When the output is colored.
  enum ColorChoice: String, ExpressibleByArgument, CaseIterable {
    case auto
    case always
    case never
  }

  @Flag(help: "Print one JSON document to standard output instead of text.")
  var json = false

  @Flag(name: .shortAndLong, help: "Print errors only.")
  var quiet = false

  @Flag(name: .shortAndLong, help: "Print details for each tensor.")
  var verbose = false

  @Option(help: ArgumentHelp("When to color the output; auto obeys NO_COLOR.", valueName: "when"))
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
