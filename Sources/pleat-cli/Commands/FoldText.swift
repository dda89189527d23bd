internal import Pleat

/// The report of a fold: how much of the adapters was lost.
struct FoldText {
  private let report: FoldReport
  private let console: Console

  init(_ report: FoldReport, _ console: Console) {
    self.report = report
    self.console = console
  }

  /// A summary line; with `--verbose`, a line for each tensor comes before it.
  var lines: [String] {
    let summary =
      report.tensors.contains(where: \.isRoundedAfter) ? rounding : Self.summary(report.total)
    return (console.isVerbose ? tensorLines : [])
      + ["\(summary), \(Quantities.number(report.partCount, of: "part"))"]
      + (report.changesNothing ? ["the adapter changes nothing: all it adds is zero"] : [])
  }

  // The error is that of rounding the whole weight. The base model alone would have it, too.
  private var rounding: String {
    "merged, then rounded: the rounding error is "
      + "\(Percentage.text(report.total.adapterError)) of what the adapter adds"
  }

  /// The adapter error and the number of changed codes, in one line.
  static func summary(_ found: FoldMeasurement) -> String {
    var facts = ["adapter error \(Percentage.text(found.adapterError))"]
    if found.codeCount > 0 {
      facts.append(
        "\(Quantities.count(found.changedCodeCount)) of \(Quantities.count(found.codeCount)) "
          + "codes changed")
    }
    return facts.joined(separator: ", ")
  }

  private var tensorLines: [String] {
    var table = Table([.left, .left, .right, .right])
    for tensor in report.tensors {
      let found = tensor.measurement
      table.add(
        "  " + tensor.name.escaped, tensor.action.rawValue,
        "error \(Percentage.text(found.adapterError))",
        found.codeCount == 0
          ? "" : "\(Quantities.exact(found.changedCodeCount)) codes changed")
    }
    return table.lines
  }
}
