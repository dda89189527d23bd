internal import ArgumentParser
internal import Pleat

/// A command that writes parts of an output.
protocol PartedCommand: ParsableCommand {
  /// Makes the output of its parts. Throws what planning and writing throw.
  func finish(_ begun: BegunParts, _ options: Finish.Options, _ console: Console) throws
}

/// A command whose parts are blocks of a plan.
protocol PlanningCommand: PartedCommand {
  /// The plan, with the options of the output. Throws what planning throws.
  func job(_ console: Console) throws -> WritingJob
}

extension PlanningCommand {
  func finish(_ begun: BegunParts, _ options: Finish.Options, _ console: Console) throws {
    let job = try job(console)
    try begun.check(job.output.output)
    try Console.checkOutput()
    let start = ContinuousClock.now
    let interruption = Interruption()
    let finish = PartFinish(
      job.plan, at: job.output.output, workerCount: options.threads,
      replacing: options.force || job.output.force, cancellation: interruption.cancellation)
    job.report(try finish(), in: ContinuousClock.now - start, ["read back from the disk: equal"])
  }
}

/// Writes one part of an output, for `--part`.
struct PartJob {
  let part: PartNumber
  let job: WritingJob

  /// Throws what the run throws.
  func callAsFunction() throws(ModelError) {
    try Console.checkOutput()
    let start = ContinuousClock.now
    let interruption = Interruption()
    let line = ProgressLine(job.verb, job.console)
    defer { line?.clear() }
    var run = PartRun(
      part, of: job.plan, to: job.output.output, arguments: Self.arguments,
      workerCount: job.output.threads, cancellation: interruption.cancellation)
    if let line { run.onProgress = { line.update($0) } }
    let outcome = try run()
    line?.clear()
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let kept =
      outcome.keptBlockCount == 0
      ? [] : ["\(Quantities.exact(outcome.keptBlockCount)) were there"]
    let parts =
      [
        "wrote part \(part) of \(job.console.style.strong(job.output.output.escaped))",
        Quantities.bytes(outcome.byteCount), Quantities.number(outcome.blockCount, of: "block"),
      ] + kept + ["in \(Quantities.seconds(seconds))"]
    let fold = outcome.fold.map { FoldText($0, job.console) }
    job.console.print(
      [parts.joined(separator: "  ")] + (fold?.lines ?? []),
      json: outcome.json(part, path: job.output.output))
  }

  /// The arguments of the command without `--part`, which differs between parts.
  static var arguments: [String] {
    var arguments: [String] = []
    var isNumber = false
    for argument in CommandLine.arguments.dropFirst() {
      if !isNumber && argument != "--part" && !argument.hasPrefix("--part=") {
        arguments.append(argument)
      }
      isNumber = !isNumber && argument == "--part"
    }
    return arguments
  }
}
