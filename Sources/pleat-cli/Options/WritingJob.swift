internal import Pleat

/// What every writing command does once it has a plan: print it, or carry it out and say so.
struct WritingJob {
  let verb: String
  let plan: Plan
  let output: WritingOptions
  let console: Console

  /// Prints the plan, or runs it.
  ///
  /// Throws what the run throws.
  func callAsFunction() throws(ModelError) {
    for note in plan.notes { console.note(note) }
    // What cannot be undone is named before it is done.
    if plan.isLossy { console.note(try lossLine()) }
    noteSpace()
    if output.dryRun {
      console.print([], json: plan.json)
      return console.print(planTable, [plannedLine])
    }
    if console.isVerbose { console.print(planTable) }
    // A small model may be one file however it is to be split; then there is nothing to go on from.
    if output.resume && output.shard == nil && !plan.isResumable {
      throw ModelError(
        .usage, "--resume is for output in several files", found: plan.fileNames.first,
        hint: "split it with --shard 5GB, or leave --resume out")
    }
    try Console.checkOutput()
    let start = ContinuousClock.now
    let interruption = Interruption()
    let line = ProgressLine(verb, console)
    defer { line?.clear() }
    var run = Run(
      plan, workerCount: output.threads, replacing: output.force,
      cancellation: interruption.cancellation)
    run.verifies = output.verify
    run.resumes = output.resume
    if let line { run.onProgress = { line.update($0) } }
    let outcome = try run()
    let size = outcome.size
    line?.clear()
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let parts = [
      "wrote \(name)", Quantities.bytes(size.byteCount),
      bits(plan.bitsPerWeight(of: size)), "in \(Quantities.seconds(seconds))",
    ]
    let fold = outcome.fold.map { FoldText($0, console) }
    console.print(
      [parts.joined(separator: "  ")] + output.readBackLines + (fold?.lines ?? []),
      json: plan.resultJSON(path: output.output, outcome))
  }

  // Space of a known size is claimed before the work begins, and that fails at once.
  private func noteSpace() {
    guard output.dryRun || !plan.isExact, let free = output.destination(plan.format).freeByteCount,
      free < plan.byteCount
    else { return }
    console.note(
      "the output takes \(plan.isExact ? "" : "at most ")\(Quantities.bytes(plan.byteCount)), "
        + "and \(Quantities.bytes(free)) of its disk are free")
  }

  private func lossLine() throws(ModelError) -> String {
    let report = try Run(plan, workerCount: output.threads).measured()
    let worst = report.worst.map {
      ", most at \($0.name) (\(Percentage.text($0.measurement.adapterError)))"
    }
    return "rounding loses \(Percentage.text(report.total.adapterError)) of the adapter"
      + (worst ?? "")
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

  private var planTable: Table {
    var table = Table([.left, .right, .left, .left, .left], rowCount: plan.tensors.count)
    // A model has few encodings, each in words once.
    var words: [Encoding: String] = [:]
    for tensor in plan.tensors {
      let target = tensor.target.encoding
      let change = words[target] ?? "→ \(target)"
      if words[target] == nil { words[target] = change }
      table.add(
        tensor.source.name.escaped, tensor.source.shape.description,
        tensor.source.encoding.description, tensor.action == .copy ? "kept" : change,
        console.style.faint(tensor.reason.escaped))
    }
    return table
  }
}
