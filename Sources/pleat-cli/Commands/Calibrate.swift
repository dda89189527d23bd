internal import ArgumentParser
internal import Pleat

/// `pleat calibrate`: measures an importance matrix.
struct Calibrate: ParsableCommand {
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

  @Flag(help: "Replace the output if it exists.")
  var force = false

  @OptionGroup(title: "Resources")
  var resources: ResourceOptions

  @OptionGroup(title: "Console")
  var consoleOptions: ConsoleOptions

  func validate() throws {
    if text.inputs.isEmpty { throw ValidationError(TextOptions.missing) }
  }

  func run() throws {
    let console = consoleOptions.console
    try Console.checkOutput()
    let opened = try Model.open(model)
    try Calibration.checkOutput(
      output, of: opened, text.text + text.tokens + merge, replacing: force)
    let others = try merge.map { path throws(ModelError) in try ImportanceMatrix.read(path) }
    var options = EvaluationOptions()
    text.apply(to: &options)
    resources.apply(to: &options)
    let calibration = try Calibration(of: opened, text.inputs, options)
    let state = resume ? try calibration.state(beside: output) : nil
    for note in calibration.notes { console.note(note) }
    if console.mode == .text {
      Console.printToStandardError(
        ResourceOptions.plan(
          chunkCount: calibration.chunkCount, length: calibration.contextLength,
          atOnce: calibration.chunksPerPass, byteCount: calibration.activationByteCount))
    }
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
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let parts = [
      "wrote \(console.style.strong(output.escaped))", Quantities.bytes(copy.byteCount),
      "\(Quantities.number(matrix.entries.count, of: "weight")), "
        + "\(Quantities.number(matrix.chunkCount, of: "chunk")) of "
        + "\(Quantities.exact(calibration.contextLength)) tokens",
      "in \(Quantities.seconds(seconds))",
    ]
    console.print([parts.joined(separator: "  ")], json: copy.resultJSON)
  }
}
