internal import Pleat

/// The report of `inspect` about an importance matrix.
struct ImportanceText: InspectionReport {
  private let inspection: ImportanceInspection
  private let view: Inspect.View
  private let style: Style
  private var statistics: [Int: ImportanceInspection.Statistics] = [:]
  private var matrix: ImportanceMatrix { inspection.matrix }

  /// Reads what the options ask for.
  ///
  /// Throws `io`.
  init(
    _ inspection: ImportanceInspection, _ view: Inspect.View, _ style: Style
  ) throws(ModelError) {
    self.inspection = inspection
    self.view = view
    self.style = style
    for index in view.stats ? listed ?? [] : [] {
      statistics[index] = try inspection.statistics(of: index)
    }
  }

  var isValid: Bool { inspection.isValid }

  var json: JSONValue { inspection.json(entries: listed, statistics: statistics) }

  var lines: [String] { summary + entryLines + faultLines + [verdict] }

  /// The indices of the entries to list, in order; nil to list none.
  private var listed: [Int]? {
    guard view.listsTensors else { return nil }
    return view.listed(matrix.entries.map(\.name)) { matrix.entries[$0].valueCount }
  }

  private var summary: [String] {
    let facts = [
      "\(matrix.form.rawValue) importance matrix",
      Quantities.number(matrix.entries.count, of: "weight"),
    ]
    var table = Table([.left, .left])
    table.add(
      "  size",
      "\(Quantities.bytes(inspection.byteCount)), "
        + "\(Quantities.exact(matrix.valueCount)) input columns")
    table.add(
      "  measured",
      Quantities.number(matrix.chunkCount, of: "chunk")
        + (matrix.chunkSize.map { " of \(Quantities.number($0, of: "token"))" } ?? ""))
    for (index, dataset) in matrix.datasets.enumerated() {
      table.add(index == 0 ? "  datasets" : "", dataset.escaped)
    }
    if inspection.partialCount > 0 {
      table.add(
        "  unseen",
        "some matrices of \(Quantities.number(inspection.partialCount, of: "weight")) "
          + "saw no token" + (view.listsTensors ? "" : style.faint("  (--tensors)")))
    }
    if let purpose = InspectionText.purpose(.importanceMatrix) {
      table.add("  not a model", purpose)
    }
    return ["\(style.strong(matrix.path.escaped))  " + facts.joined(separator: " · ")]
      + table.lines
  }

  private var entryLines: [String] {
    guard let listed else { return [] }
    var table = Table(
      [.left, .right, .right, .left] + (view.stats ? [.right, .right, .right] : []))
    for index in listed {
      let entry = matrix.entries[index]
      let stack = entry.matrixCount == 1 ? "" : "\(entry.matrixCount)×"
      let cells = [
        "  " + entry.name.escaped, "\(stack)\(entry.columnCount)", counts(entry), unseen(entry),
      ]
      table.add(cells + (statistics[index].map(texts) ?? []))
    }
    return [""] + table.lines
  }

  /// How often an entry was measured; the least and the most of its matrices.
  private func counts(_ entry: ImportanceMatrix.Entry) -> String {
    let (least, most) = (entry.counts.min() ?? 0, entry.counts.max() ?? 0)
    let unit = matrix.form == .dat ? "chunk" : "token"
    return (least == most ? "" : "\(Quantities.exact(least))…")
      + Quantities.number(most, of: unit)
  }

  private func unseen(_ entry: ImportanceMatrix.Entry) -> String {
    guard !entry.unseen.isEmpty else { return "" }
    guard entry.matrixCount > 1 else { return style.warning("never seen") }
    let numbers = entry.unseen.map(String.init).joined(separator: ", ")
    return style.warning("never seen: \(numbers)")
  }

  /// The smallest, the largest and the mean importance.
  private func texts(_ found: ImportanceInspection.Statistics) -> [String] {
    [
      Quantities.short(Double(found.minimum)), Quantities.short(Double(found.maximum)),
      Quantities.short(found.mean),
    ]
  }

  private var faultLines: [String] {
    guard !isValid else { return [] }
    let lines = matrix.faults.map { fault in
      var fault = fault
      fault.file = nil
      return "  " + style.failure(fault.description.escaped)
    }
    return [""] + lines
  }

  private var verdict: String {
    isValid
      ? "\(style.success("valid")): \(Quantities.number(matrix.entries.count, of: "weight")), "
        + "all numbers finite and not negative"
      : "\(style.failure("not valid")): "
        + Quantities.number(matrix.faults.count, of: "fault")
  }
}
