internal import Pleat

/// Writes an adapter in the form of another runtime (`attach --to gguf`), or prints the plan.
struct ExportJob {
  let export: AdapterExport
  let output: WritingOptions
  let console: Console

  /// Throws what writing throws.
  func callAsFunction() throws(ModelError) {
    for note in export.notes { console.note(note) }
    let name = console.style.strong(output.output.escaped)
    if output.dryRun {
      let line = "would write \(name)  \(Quantities.exactBytes(export.byteCount))  \(modules)"
      return console.print(moduleLines + [line], json: export.planJSON(path: output.output))
    }
    try Console.checkOutput()
    let start = ContinuousClock.now
    let size = try export.write(replacing: output.force, verifying: output.verify)
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let parts = [
      "wrote \(name)", Quantities.bytes(size.byteCount), modules,
      "in \(Quantities.seconds(seconds))",
    ]
    console.print(
      (console.isVerbose ? moduleLines : []) + [parts.joined(separator: "  ")]
        + output.readBackLines,
      json: export.resultJSON(path: output.output, size: size))
  }

  private var modules: String { Quantities.number(export.modules.count, of: "adapted weight") }

  private var moduleLines: [String] {
    var table = Table([.left, .right])
    for module in export.modules { table.add(module.name.escaped, "rank \(module.rank)") }
    return table.lines
  }
}
