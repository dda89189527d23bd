internal import ArgumentParser
internal import Pleat

/// `pleat inspect`: shows what a model file contains.
struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Show what a model file contains, and check it.",
    usage: "pleat inspect <model> ... [options]",
    discussion: """
      The last line says what was checked. Without --check and --stats only headers are read, so \
      that large models take no longer.

      Exit status: 0 when every check passes, 1 when --check finds a fault, 65 when the file \
      cannot be read as a model.

      Examples:
        pleat inspect model/
        pleat inspect model.gguf --check
        pleat inspect model.pleat --tensors --name '*.q_proj.*'
        pleat inspect model.gguf --stats --json
        pleat inspect imatrix.gguf --tensors
      """,
    aliases: ["dump", "show"])

  /// Order of the tensor list.
  enum Order: String, ExpressibleByArgument, CaseIterable {
    case file
    case name
    case size
  }

  @Argument(
    help: "One or more models, adapters, or importance matrices of llama-imatrix.",
    completion: .file())
  var model: [String]

  struct View: ParsableArguments {
    @Flag(name: .shortAndLong, help: "List every tensor.")
    var tensors = false

    @Flag(
      name: .shortAndLong,
      help: "List every metadata entry. Arrays are shown by type and length.")
    var metadata = false

    @Option(help: ArgumentHelp("List only the tensors whose name matches.", valueName: "glob"))
    var name: String?

    @Option(help: ArgumentHelp("Order of the tensor list.", valueName: "order"))
    var sort = Order.file

    @Flag(
      help: """
        Read the weights, and show the minimum, maximum, mean, standard deviation and histogram \
        of each tensor, and any NaN and infinite values.
        """
    )
    var stats = false

    @Flag(
      help: """
        Read all data: compare the checksums, and look for numbers that are NaN or infinite. \
        (exit status 1 if a check fails)
        """
    )
    var check = false
  }

  @OptionGroup(title: "View")
  var view: View

  @OptionGroup(title: "Console")
  var consoleOptions: ConsoleOptions

  func run() throws {
    let console = consoleOptions.console
    let interruption = Interruption()
    let reports = try model.map { (path) throws(ModelError) -> any InspectionReport in
      switch try Input.open(path) {
      case .model(let model): try report(on: model, interruption, console.style)
      case .importance(let matrix):
        try ImportanceText(try ImportanceInspection(matrix), view, console.style)
      }
    }
    console.print(
      Array(reports.map(\.lines).joined(separator: [""])),
      json: reports.count == 1 ? reports[0].json : .array(reports.map(\.json)))
    if view.check, !reports.allSatisfy(\.isValid) { throw ExitStatus.negative }
  }

  /// Reads what the options ask for.
  private func report(
    on model: Model, _ interruption: Interruption, _ style: Style
  ) throws(ModelError) -> InspectionText {
    let tensors = view.listsTensors ? listedTensors(of: model) : nil
    var statistics: [Int: TensorStatistics] = [:]
    for index in view.stats ? tensors ?? [] : [] {
      statistics[index] = try TensorStatistics(of: index, in: model)
    }
    var check: DataCheck?
    if view.check {
      check = try DataCheck(of: model) { (_) throws(ModelError) in
        guard interruption.cancellation.isRequested else { return }
        throw ModelError(.interrupted, "stopped on request")
      }
    }
    return InspectionText(
      Inspection(model), view, style, tensors: tensors, statistics: statistics, check: check)
  }

  /// The indices of the tensors to list, in order.
  private func listedTensors(of model: Model) -> [Int] {
    view.listed(model.catalog.tensors.map(\.name)) { model.storedByteCount(of: $0) }
  }
}

extension Inspect.View {
  /// Whether anything is listed.
  var listsTensors: Bool { tensors || name != nil || stats }

  /// The indices of the names to list, in order; `size` returns the size of each.
  func listed(_ names: [String], size: (Int) -> Int) -> [Int] {
    let chosen = names.indices.filter { index in
      name.map { Rule(pattern: $0, choice: .keep).matches(names[index]) } ?? true
    }
    switch sort {
    case .file: return chosen
    case .name: return chosen.sorted { names[$0] < names[$1] }
    case .size: return chosen.sorted { (-size($0), $0) < (-size($1), $1) }
    }
  }
}

/// What `inspect` shows about one file.
protocol InspectionReport {
  /// The report for people.
  var lines: [String] { get }
  /// The report as JSON.
  var json: JSONValue { get }
  /// Whether every check passed.
  var isValid: Bool { get }
}
