internal import Pleat

/// Writes an importance matrix (`convert`), or prints the plan.
struct ImportanceJob {
  let copy: ImportanceCopy
  let output: WritingOptions
  let console: Console

  /// Throws what writing throws.
  func callAsFunction() throws(ModelError) {
    for note in copy.notes { console.note(note) }
    let name = console.style.strong(output.output.escaped)
    if output.dryRun {
      let line = "would write \(name)  \(Quantities.exactBytes(copy.byteCount))  \(contents)"
      return console.print([line], json: copy.planJSON)
    }
    try Console.checkOutput()
    let start = ContinuousClock.now
    try copy.write(replacing: output.force, verifying: output.verify)
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let parts = [
      "wrote \(name)", Quantities.bytes(copy.byteCount), contents,
      "in \(Quantities.seconds(seconds))",
    ]
    console.print(
      [parts.joined(separator: "  ")] + output.readBackLines, json: copy.resultJSON)
  }

  private var contents: String {
    "\(copy.form.rawValue) importance matrix of "
      + Quantities.number(copy.matrix.entries.count, of: "weight")
  }
}
