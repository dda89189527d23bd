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
      return console.print(planLines + [sizeLine("would write", plan.byteCount)], json: plan.json)
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
    let byteCount = try run()
    line?.clear()
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    console.print(
      [sizeLine("wrote", byteCount) + "  in \(Quantities.seconds(seconds))"],
      json: plan.resultJSON(path: output.output, byteCount: byteCount))
  }

  private func sizeLine(_ verb: String, _ byteCount: Int) -> String {
    let atMost = verb == "wrote" || plan.isExact ? "" : "at most "
    let exact = verb == "wrote" ? "" : " (\(Quantities.exact(byteCount)) bytes)"
    return [
      "\(verb) \(console.style.strong(output.output.escaped))",
      "\(atMost)\(Quantities.bytes(byteCount))\(exact)",
      "\(Quantities.fixed(plan.bitsPerWeight(of: byteCount), 2)) bits per weight",
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
