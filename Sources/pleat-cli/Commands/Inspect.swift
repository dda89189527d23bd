internal import ArgumentParser
internal import Pleat

/// `pleat inspect`: shows what a model file contains.
struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Show what a model file contains.",
    usage: "pleat inspect <model> ... [options]",
    discussion: """
      Reads headers only, so it is quick on any size, unless --stats is given.

      Examples:
        pleat inspect model/
        pleat inspect model.pleat --tensors --name '*.q_proj.*'
        pleat inspect model.gguf --stats --json
      """,
    aliases: ["dump", "show"])

  /// Order of the tensor list.
  enum Order: String, ExpressibleByArgument, CaseIterable {
    case file
    case name
    case size
  }

  @Argument(help: "One or more models or adapters.", completion: .file())
  var model: [String]

  struct View: ParsableArguments {
    @Flag(name: .shortAndLong, help: "List every tensor.")
    var tensors = false

    @Flag(name: .shortAndLong, help: "List every metadata entry; of arrays the type and length.")
    var metadata = false

    @Option(help: ArgumentHelp("Only tensors whose name matches.", valueName: "glob"))
    var name: String?

    @Option(help: ArgumentHelp("Order of the tensor list.", valueName: "order"))
    var sort = Order.file

    @Flag(
      help: "Read the weights and add minimum, maximum, mean, deviation, NaN count and a histogram."
    )
    var stats = false
  }

  @OptionGroup(title: "View")
  var view: View

  @OptionGroup(title: "Console")
  var talk: ConsoleOptions

  func run() throws {
    let console = talk.console
    let reports = try model.map {
      try InspectionText(Inspection(try Model.open($0)), view, console.style)
    }
    console.print(
      Array(reports.map(\.lines).joined(separator: [""])),
      json: reports.count == 1 ? reports[0].json : .array(reports.map(\.json)))
  }
}
