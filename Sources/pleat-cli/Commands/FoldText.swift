internal import Pleat

/// The lines about what survived of adapters.
struct FoldText {
  private let report: FoldReport
  private let console: Console

  init(_ report: FoldReport, _ console: Console) {
    self.report = report
    self.console = console
  }

  /// One line in all, and with `--verbose` one for each tensor.
  var lines: [String] {
    (console.isVerbose ? moduleLines : []) + [
      report.modules.contains(where: \.isRoundedAfter) ? rounding : Self.summary(report.total)
    ]
  }

  // The error of the whole weight, which the base alone would have too.
  private var rounding: String {
    "merged, then rounded: the rounding is "
      + "\(Percentage.text(report.total.adapterError)) of what the adapter adds"
  }

  /// What survived, in one line.
  static func summary(_ found: FoldMeasurement) -> String {
    var facts = ["adapter error \(Percentage.text(found.adapterError))"]
    if found.codeCount > 0 {
      facts.append(
        "\(Quantities.count(found.changedCodeCount)) of \(Quantities.count(found.codeCount)) "
          + "codes changed")
    }
    return facts.joined(separator: ", ")
  }

  private var moduleLines: [String] {
    var table = Table([.left, .left, .right, .right])
    for module in report.modules {
      let found = module.measurement
      table.add(
        "  " + module.name.escaped, module.action.name,
        "error \(Percentage.text(found.adapterError))",
        found.codeCount == 0
          ? "" : "\(Quantities.exact(found.changedCodeCount)) codes changed")
    }
    return table.lines
  }
}
