internal import ArgumentParser
internal import Pleat

/// `pleat calibrate`: measures an importance matrix.
struct Calibrate: PartedCommand {
  static let configuration = CommandConfiguration(
    commandName: "calibrate",
    abstract: "Measure which columns of a model's weights matter, on a text.",
    usage: "pleat calibrate <model> --text <path> ... --output <path> [options]",
    discussion: """
      Writes an importance matrix as llama-imatrix does: for each column of a weight, the sum of \
      the squares of its inputs. 'pleat quantize --importance' and llama-quantize read it. Measure \
      on the model before it is quantized, with text like that which it will be used for. --text \
      and --tokens may be repeated; each text is cut by itself.

      Examples:
        pleat calibrate model/ --text text.txt -o importance.gguf
        pleat calibrate model/ --text code.txt --merge importance.gguf -o both.gguf
        pleat calibrate model/ --text text.txt --part 3/7 -o importance.gguf
        pleat quantize model/ --importance importance.gguf -o model.gguf
      """)

  @Argument(help: "The model to measure.", completion: .file())
  var model: String

  @OptionGroup(title: "Text")
  var text: TextOptions

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "Path of the importance matrix; .gguf, or .dat for the older form.", valueName: "path"),
    completion: .file())
  var output: String

  @Option(
    help: ArgumentHelp(
      "Add to this importance matrix of the same model. Repeatable.", valueName: "path"),
    completion: .file())
  var merge: [String] = []

  @Flag(
    help: """
      Continue a stopped run of the same command. Meanwhile the sums are kept in a file beside \
      the output.
      """)
  var resume = false

  @Option(
    help: ArgumentHelp(
      """
      Measure one of several parts of the text, such as 3/7 or auto, on this or another machine; \
      'pleat finish' then makes the output.
      """, valueName: "i/n"))
  var part: String?

  @Flag(help: "Replace the output if it exists.")
  var force = false

  @OptionGroup(title: "Resources")
  var resources: ResourceOptions

  @OptionGroup(title: "Console")
  var consoleOptions: ConsoleOptions

  func validate() throws {
    if text.inputs.isEmpty { throw ValidationError(TextOptions.missing) }
    if part != nil, resume {
      throw ValidationError("a part always goes on where it stopped: leave out --resume")
    }
  }

  func run() throws {
    let console = consoleOptions.console
    let part = try part.map { (text) throws(ModelError) in
      try PartNumber(text: text, variable: Terminal.variable)
    }
    try Console.checkOutput()
    let others = try merge.map { path throws(ModelError) in try ImportanceMatrix.read(path) }
    let calibration = try calibration(replacing: force)
    for note in calibration.notes { console.note(note) }
    if console.mode == .text {
      Console.printToStandardError(
        ResourceOptions.plan(
          chunkCount: calibration.chunkCount, length: calibration.contextLength,
          atOnce: calibration.chunksPerPass, byteCount: calibration.activationByteCount))
    }
    if let part {
      let parts = try CalibrationParts(of: calibration, to: output, mergingInto: others)
      return try run(part, of: parts, console)
    }
    let state = resume ? try calibration.state(beside: output) : nil
    if let note = state?.note { console.note(note) }
    if let done = state?.chunkCount, done > 0 {
      console.note("going on after chunk \(done) of \(calibration.chunkCount)")
    }
    let interruption = Interruption()
    let line = ProgressLine("calibrating", console)
    defer { line?.clear() }
    let start = ContinuousClock.now
    let matrix = try calibration.run(
      from: state, mergingInto: others, cancellation: interruption.cancellation
    ) { line?.update($0) }
    line?.clear()
    let copy = try ImportanceCopy(of: others + [matrix], to: output)
    for note in copy.notes { console.note(note) }
    try copy.write(replacing: force)
    try state?.remove()
    report(copy, of: calibration, since: start, console)
  }

  /// Plans the measurement.
  private func calibration(replacing: Bool) throws(ModelError) -> Calibration {
    let opened = try Model.open(model)
    try Calibration.checkOutput(
      output, of: opened, text.text + text.tokens + merge, replacing: replacing)
    var options = EvaluationOptions()
    text.apply(to: &options)
    resources.apply(to: &options)
    return try Calibration(of: opened, text.inputs, options)
  }

  /// Measures one part.
  private func run(
    _ part: PartNumber, of parts: CalibrationParts, _ console: Console
  ) throws(ModelError) {
    let interruption = Interruption()
    let line = ProgressLine("calibrating", console)
    defer { line?.clear() }
    let start = ContinuousClock.now
    let outcome = try parts.run(
      part, arguments: PartJob.arguments, cancellation: interruption.cancellation,
      onNote: { console.note($0) }, onProgress: { line?.update($0) })
    line?.clear()
    let kept = outcome.keptChunkCount
    let words =
      [
        "measured part \(part) of \(console.style.strong(output.escaped))",
        Quantities.number(outcome.chunkCount, of: "chunk"),
      ] + (kept == 0 ? [] : ["\(Quantities.exact(kept)) were there"]) + [Self.time(since: start)]
    console.print(
      [words.joined(separator: "  ")], json: outcome.json(part, path: output))
  }

  func finish(_ begun: BegunParts, _ options: Finish.Options, _ console: Console) throws {
    try begun.check(output)
    try Console.checkOutput()
    let start = ContinuousClock.now
    let interruption = Interruption()
    let others = try merge.map { path throws(ModelError) in try ImportanceMatrix.read(path) }
    // An output of a run that was killed at its end is no obstacle.
    let calibration = try calibration(replacing: true)
    let parts = try CalibrationParts(of: calibration, to: output, mergingInto: others)
    let copy = try parts.finish(
      replacing: options.force || force, cancellation: interruption.cancellation)
    for note in copy.notes { console.note(note) }
    report(copy, of: calibration, since: start, console)
  }

  /// Reports what was written.
  private func report(
    _ copy: ImportanceCopy, of calibration: Calibration, since start: ContinuousClock.Instant,
    _ console: Console
  ) {
    let words = [
      "wrote \(console.style.strong(output.escaped))", Quantities.bytes(copy.byteCount),
      "\(Quantities.number(copy.matrix.entries.count, of: "weight")), "
        + "\(Quantities.number(calibration.chunkCount, of: "chunk")) of "
        + "\(Quantities.exact(calibration.contextLength)) tokens",
      Self.time(since: start),
    ]
    console.print([words.joined(separator: "  ")], json: copy.resultJSON)
  }

  private static func time(since start: ContinuousClock.Instant) -> String {
    "in \(Quantities.seconds((ContinuousClock.now - start) / .seconds(1)))"
  }
}
