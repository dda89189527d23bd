internal import Pleat

/// The report of `inspect` about a model.
struct InspectionText: InspectionReport {
  private let inspection: Inspection
  private let view: Inspect.View
  private let style: Style
  private let tensors: [Int]?
  private let statistics: [Int: TensorStatistics]
  private let check: DataCheck?

  /// A report of what was read before; it reads nothing itself.
  init(
    _ inspection: Inspection, _ view: Inspect.View, _ style: Style, tensors: [Int]?,
    statistics: [Int: TensorStatistics], check: DataCheck?
  ) {
    self.inspection = inspection
    self.view = view
    self.style = style
    self.tensors = tensors
    self.statistics = statistics
    self.check = check
  }

  /// The report as JSON.
  var json: JSONValue {
    inspection.json(
      tensors: tensors, statistics: statistics, showsMetadata: view.metadata, check: check)
  }

  /// The report for people.
  var lines: [String] { summary + metadataLines + tensorLines + problemLines + [verdict] }

  private var summary: [String] {
    let model = inspection.model
    var facts = [model.format.name + Self.noun(model.kind)]
    if model.fileCount > 1 { facts.append("\(model.fileCount) files") }
    if let architecture = inspection.architecture { facts.append(architecture.escaped) }
    if let mix = inspection.mixName { facts.append(mix) }
    facts.append("\(Quantities.count(model.catalog.elementCount)) weights")
    var table = Table([.left, .left])
    table.add(
      "  size",
      "\(Quantities.bytes(model.byteCount)), "
        + "\(Quantities.fixed(inspection.bitsPerWeight, 2)) bits per weight"
    )
    for (index, line) in encodingLines.enumerated() {
      table.add(index == 0 ? "  encoding" : "", line)
    }
    if let purpose = Self.purpose(model.kind) { table.add("  not a model", purpose) }
    if var fault = model.packedFault {
      fault.file = nil
      table.add("  not decoded", style.failure(fault.description.escaped))
    }
    let entries = model.catalog.metadata.entries.count
    if entries > 0 {
      table.add(
        "  metadata",
        "\(entries) \(entries == 1 ? "entry" : "entries")"
          + (view.metadata ? "" : style.faint("  (--metadata)")))
    }
    for (index, line) in adapterLines.enumerated() {
      table.add(index == 0 ? "  adapter" : "", line)
    }
    if !model.catalog.companions.isEmpty {
      table.add(
        "  companions", model.catalog.companions.map(\.name.escaped).joined(separator: ", "))
    }
    for (index, line) in inspection.provenanceLines.enumerated() {
      table.add(index == 0 ? "  made from" : "", line.escaped)
    }
    return ["\(style.strong(model.path.escaped))  " + facts.joined(separator: " · ")] + table.lines
  }

  /// What follows the name of the format, for everything but a model.
  private static func noun(_ kind: ModelKind) -> String {
    switch kind {
    case .model: ""
    case .adapter: " adapter"
    case .importanceMatrix: " importance matrix"
    case .projector: " projector"
    case .controlVector: " control vector"
    case .vocabulary: " vocabulary"
    }
  }

  /// What files are for that other tools call models; nil for models and adapters.
  static func purpose(_ kind: ModelKind) -> String? {
    switch kind {
    case .model, .adapter: nil
    case .importanceMatrix: "measured by llama-imatrix or pleat calibrate, for --importance"
    case .projector: "a tower for pictures or sound, which llama.cpp loads beside a model"
    case .controlVector: "directions that llama.cpp adds to hidden states (--control-vector)"
    case .vocabulary: "the tokenizer of a model, without its weights"
    }
  }

  private var encodingLines: [String] {
    var table = Table([.left, .right, .right, .right])
    for summary in inspection.encodings {
      table.add(
        inspection.description(of: summary.encoding),
        Quantities.number(summary.tensorCount, of: "tensor"),
        "\(Quantities.count(summary.elementCount)) weights", Quantities.bytes(summary.byteCount))
    }
    return table.lines
  }

  private var adapterLines: [String] {
    var lines = inspection.adapters.flatMap { adapter in
      let name = inspection.model.isAdapter ? "" : "\(adapter.name.escaped): "
      var facts = ["\(name)\(adapter.kind.tool) \(adapter.method)"]
      facts.append("rank " + adapter.ranks.map(String.init).joined(separator: ", "))
      facts.append("scale " + adapter.scales.map(Quantities.short).joined(separator: ", "))
      if let size = adapter.groupSize { facts.append("groups of \(size) inputs") }
      if let pooling = adapter.pooling { facts.append(pooling.summary) }
      var counts = [Quantities.number(adapter.productCount, of: "product")]
      if adapter.vectorCount > 0 {
        counts.append(Quantities.number(adapter.vectorCount, of: "vector"))
      }
      if adapter.replacementCount > 0 {
        counts.append(Quantities.number(adapter.replacementCount, of: "replaced tensor"))
      }
      let targets = adapter.targets.map(\.escaped).joined(separator: ", ")
      return [
        facts.joined(separator: " · "), "\(counts.joined(separator: ", ")) for \(targets)",
      ]
    }
    if var fault = inspection.adapterFault {
      fault.file = nil
      lines.append(style.failure(fault.description.escaped))
    }
    return lines
  }

  // MARK: - Verdict

  /// Whether every check passed.
  var isValid: Bool { inspection.isValid(check) }

  /// A line for each fault that reading the data found.
  private var problemLines: [String] {
    guard let check, !check.holds else { return [] }
    var lines = check.faults.map { fault in
      var fault = fault
      fault.file = nil
      return "  " + style.failure(fault.description.escaped)
    }
    for tensor in check.nonFinite {
      let counts = [(tensor.nanCount, "NaN"), (tensor.infinityCount, "infinite")]
        .filter { $0.0 > 0 }.map { "\(Quantities.exact($0.0)) \($0.1)" }
      lines.append(
        "  "
          + style.failure(
            "\(tensor.name.escaped): \(counts.joined(separator: ", ")), the first in row "
              + "\(tensor.row), column \(tensor.column)"))
    }
    return [""] + lines
  }

  /// What was checked, and whether it holds: the last line.
  private var verdict: String {
    let count = inspection.model.catalog.tensors.count
    let headers = "headers, sizes and places of \(Quantities.number(count, of: "tensor"))"
    guard let check else {
      return isValid
        ? "\(style.success("valid")): \(headers); --check reads the data too"
        : "\(style.failure("not valid")): \(headers) are right, but Pleat cannot use the adapter"
    }
    guard check.holds else {
      let faults = check.faults.count + check.nonFinite.count
      return "\(style.failure("not valid")): \(Quantities.number(faults, of: "fault"))"
    }
    var facts = [headers]
    facts.append(
      check.checksumCount > 0
        ? "\(Quantities.exact(check.checksumCount)) checksums" : "no checksums in the file")
    facts.append("\(Quantities.count(check.elementCount)) finite numbers")
    if !check.undecoded.isEmpty {
      facts.append(
        "\(Quantities.number(check.undecoded.count, of: "tensor")) not decoded "
          + "(\(check.undecoded[0].escaped)\(check.undecoded.count > 1 ? " …" : ""))")
    }
    return isValid
      ? "\(style.success("valid")): \(facts.joined(separator: ", "))"
      : "\(style.failure("not valid")): the data is right, but Pleat cannot use the adapter"
  }

  private var metadataLines: [String] {
    guard view.metadata else { return [] }
    var table = Table([.left, .left, .left])
    for entry in inspection.model.catalog.metadata.entries {
      table.add(
        "  " + entry.key.escaped, style.faint("\(entry.value.type)"), entry.value.summary.escaped)
    }
    return [""] + table.lines
  }

  private var tensorLines: [String] {
    guard let tensors else { return [] }
    let model = inspection.model
    var table = Table(
      [.left, .right, .left, .right] + (view.stats ? [.right, .right, .right, .right, .left] : []))
    for index in tensors {
      let tensor = model.catalog.tensors[index]
      let cells = [
        "  " + tensor.name.escaped, tensor.shape.description,
        inspection.description(of: tensor.encoding),
        Quantities.bytes(model.storedByteCount(of: index)),
      ]
      table.add(cells + (view.stats ? statisticsCells(statistics[index]) : []))
    }
    return [""] + table.lines
  }

  private func statisticsCells(_ found: TensorStatistics?) -> [String] {
    guard let found else { return ["", "", "", "", style.faint("not decoded")] }
    var faults = ""
    if found.nanCount > 0 { faults += "  \(Quantities.exact(found.nanCount)) NaN" }
    if found.infinityCount > 0 { faults += "  \(Quantities.exact(found.infinityCount)) infinite" }
    return [
      Quantities.short(Double(found.minimum)), Quantities.short(Double(found.maximum)),
      Quantities.short(found.mean), "± " + Quantities.short(found.standardDeviation),
      Self.sparkline(found.histogram) + style.failure(faults),
    ]
  }

  /// A histogram as bars of eight heights; only empty bins have no bar.
  private static func sparkline(_ counts: [Int]) -> String {
    let bars = Array("▁▂▃▄▅▆▇█")
    let most = counts.max() ?? 0
    return String(
      counts.map { count in
        count == 0 || most == 0 ? " " : bars[min(7, count * 8 / (most + 1))]
      })
  }
}
