internal import Pleat

/// What every writing command does once it has a plan: print it, or carry it out and say so.
struct WritingJob {
  let verb: String
  let plan: Plan
  let output: OutputOptions
  let console: Console

  /// Prints the plan, or runs it.
  ///
  /// Throws what the run throws.
  func callAsFunction() throws(ModelError) {
    for note in plan.notes { console.note(note) }
    if output.dryRun {
      return console.print(planLines + [plannedLine], json: plan.json)
    }
    if console.isVerbose { console.print(planLines) }
    let start = ContinuousClock.now
    let interruption = Interruption()
    let line = ProgressLine(verb, console)
    defer { line?.clear() }
    var run = Run(
      plan, workerCount: output.threads, replacing: output.force,
      cancellation: interruption.cancellation)
    if let line { run.onProgress = { line.update($0) } }
    let size = try run()
    line?.clear()
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let parts = [
      "wrote \(name)", Quantities.bytes(size.byteCount),
      bits(plan.bitsPerWeight(of: size)), "in \(Quantities.seconds(seconds))",
    ]
    console.print(
      [parts.joined(separator: "  ")], json: plan.resultJSON(path: output.output, size: size))
  }

  // A split set has no file of the name that was asked for.
  private var name: String {
    console.style.strong((plan.splitName ?? output.output).escaped)
  }

  private func bits(_ value: Double) -> String { "\(Quantities.fixed(value, 2)) bits per weight" }

  private var plannedLine: String {
    [
      "would write \(name)",
      (plan.isExact ? "" : "at most ") + Quantities.exactBytes(plan.byteCount),
      bits(plan.bitsPerWeight),
    ].joined(separator: "  ")
  }

  private var planLines: [String] {
    var table = Table([.left, .right, .left, .left, .left])
    for tensor in plan.tensors {
      table.add(
        tensor.source.name.escaped, tensor.source.shape.description,
        tensor.source.encoding.description,
        tensor.action == .copy ? "kept" : "→ \(tensor.target.encoding)",
        console.style.faint(tensor.reason.escaped))
    }
    return table.lines
  }
}
