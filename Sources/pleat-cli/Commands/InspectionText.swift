internal import Pleat

/// The lines of `inspect`.
struct InspectionText {
  private let inspection: Inspection
  private let view: Inspect.View
  private let style: Style
  private let tensors: [Int]?
  private var statistics: [Int: TensorStatistics] = [:]

  /// Chooses and orders the tensors, and reads weights where asked for.
  init(_ inspection: Inspection, _ view: Inspect.View, _ style: Style) throws(ModelError) {
    self.inspection = inspection
    self.view = view
    self.style = style
    tensors =
      view.tensors || view.name != nil || view.stats ? Self.chosen(inspection.model, view) : nil
    guard view.stats else { return }
    for index in tensors ?? [] {
      statistics[index] = try TensorStatistics(of: index, in: inspection.model)
    }
  }

  /// The report as JSON.
  var json: JSONValue {
    inspection.json(tensors: tensors, statistics: statistics, showsMetadata: view.metadata)
  }

  /// The report for people.
  var lines: [String] { summary + metadataLines + tensorLines }

  private static func chosen(_ model: Model, _ view: Inspect.View) -> [Int] {
    let all = model.catalog.tensors
    let chosen = all.indices.filter { index in
      view.name.map { Rule(pattern: $0, choice: .keep).matches(all[index].name) } ?? true
    }
    switch view.sort {
    case .file: return chosen
    case .name: return chosen.sorted { all[$0].name < all[$1].name }
    case .size:
      return chosen.sorted {
        (-model.storedByteCount(of: $0), $0) < (-model.storedByteCount(of: $1), $1)
      }
    }
  }

  private var summary: [String] {
    let model = inspection.model
    var facts = [model.format.name + (model.isAdapter ? " adapter" : "")]
    if model.fileCount > 1 { facts.append("\(model.fileCount) files") }
    if let architecture = inspection.architecture { facts.append(architecture.escaped) }
    facts.append("\(Quantities.count(model.catalog.elementCount)) weights")
    var table = Table([.left, .left])
    table.add(
      "  size",
      "\(Quantities.bytes(model.byteCount)), \(Quantities.fixed(inspection.bitsPerWeight, 2)) bits per weight"
    )
    for (index, line) in encodingLines.enumerated() {
      table.add(index == 0 ? "  encoding" : "", line)
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

  private var encodingLines: [String] {
    var table = Table([.left, .right, .right, .right])
    for summary in inspection.encodings {
      table.add(
        summary.encoding.description, Quantities.number(summary.tensorCount, of: "tensor"),
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
        "  " + tensor.name.escaped, tensor.shape.description, tensor.encoding.description,
        Quantities.bytes(model.storedByteCount(of: index)),
      ]
      table.add(cells + (view.stats ? statisticsCells(statistics[index]) : []))
    }
    return [""] + table.lines
  }

  private func statisticsCells(_ found: TensorStatistics?) -> [String] {
    guard let found else { return ["", "", "", "", style.faint("not decoded")] }
    var trouble = ""
    if found.nanCount > 0 { trouble += "  \(Quantities.exact(found.nanCount)) NaN" }
    if found.infinityCount > 0 { trouble += "  \(Quantities.exact(found.infinityCount)) infinite" }
    return [
      Quantities.short(Double(found.minimum)), Quantities.short(Double(found.maximum)),
      Quantities.short(found.mean), "± " + Quantities.short(found.standardDeviation),
      Self.sparkline(found.histogram) + style.failure(trouble),
    ]
  }

  /// Bars of eight heights; an interval that is not empty shows at least the lowest.
  private static func sparkline(_ counts: [Int]) -> String {
    let bars = Array("▁▂▃▄▅▆▇█")
    let most = counts.max() ?? 0
    return String(
      counts.map { count in
        count == 0 || most == 0 ? " " : bars[min(7, count * 8 / (most + 1))]
      })
  }
}
