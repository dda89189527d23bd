internal import Pleat

/// Carries out the plan of a writing command and reports the result, or prints the plan.
struct WritingJob {
  let verb: String
  let plan: Plan
  let output: WritingOptions
  let console: Console

  /// Runs the plan, or prints it for `--dry-run`.
  ///
  /// Throws what the run throws.
  func callAsFunction() throws(ModelError) {
    let part = try output.partNumber()
    // A loss is measured once, before anything is written, and refused or announced. It takes as
    // long as the whole job, so that a part does not measure it.
    let loss = part == nil ? try plan.measuredLoss(workerCount: output.threads) : nil
    try plan.checkPermits(loss)
    if let note = output.suffixNote(plan.format) { console.note(note) }
    for note in plan.notes { console.note(note) }
    if let loss { console.note(Self.lossLine(loss)) }
    if part == nil { noteSpace() }
    if output.dryRun {
      if let count = output.parts {
        return try PartsText(
          plan, count: count, workerCount: output.threads ?? PartsText.usualWorkerCount, console)()
      }
      console.print([], json: plan.json)
      return console.print(planTable, [plannedLine])
    }
    if let part { return try PartJob(part: part, job: self)() }
    if console.isVerbose { console.print(planTable) }
    // With --shard, a small model may still fit in one file. That is no error.
    if output.resume && output.shard == nil && !plan.isResumable {
      throw ModelError(
        .usage, "--resume needs output in several files", found: plan.fileNames.first,
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
    line?.clear()
    report(outcome, in: ContinuousClock.now - start, output.readBackLines)
  }

  /// Reports what was written.
  func report(_ outcome: Run.Outcome, in time: Duration, _ readBackLines: [String]) {
    let parts = [
      "wrote \(name)", Quantities.bytes(outcome.size.byteCount),
      bits(plan.bitsPerWeight(of: outcome.size)), "in \(Quantities.seconds(time / .seconds(1)))",
    ]
    let fold = outcome.fold.map { FoldText($0, console) }
    console.print(
      [parts.joined(separator: "  ")] + readBackLines + (fold?.lines ?? []),
      json: plan.resultJSON(path: output.output, outcome))
  }

  // If the size is known, a run claims the space before it begins, and fails at once. The note is
  // for all other cases.
  private func noteSpace() {
    guard output.dryRun || !plan.isExact, let free = output.destination(plan.format).freeByteCount,
      free < plan.byteCount
    else { return }
    console.note(
      "the output takes \(plan.isExact ? "" : "at most ")\(Quantities.bytes(plan.byteCount)), "
        + "but on its disk only \(Quantities.bytes(free)) are free")
  }

  private static func lossLine(_ loss: FoldReport) -> String {
    let worst = loss.worst.map {
      ", most at \($0.name) (\(Percentage.text($0.measurement.adapterError)))"
    }
    return "rounding loses \(Percentage.text(loss.total.adapterError)) of the adapter"
      + (worst ?? "")
  }

  // A split output has no file with the requested name.
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
    var table = Table([.left, .right, .left, .left, .left], rowCount: plan.jobs.count)
    // A model has few encodings. The text for each is made once.
    var words: [Encoding: String] = [:]
    for job in plan.jobs {
      let target = job.target.encoding
      let change = words[target] ?? "→ \(target)"
      if words[target] == nil { words[target] = change }
      table.add(
        job.source.name.escaped, job.source.shape.description,
        job.source.encoding.description, job.action == .copy ? "kept" : change,
        console.style.faint(job.reason.escaped))
    }
    return table
  }
}
