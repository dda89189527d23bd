internal import ArgumentParser
internal import Pleat

/// `pleat calibrate`: measures an importance matrix.
struct Calibrate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "calibrate",
    abstract: "Measure which columns of a model's weights matter, on a text.",
    usage: "pleat calibrate <model> --text <path> --output <path> [options]",
    discussion: """
      Writes an importance matrix as llama-imatrix does: for each column of a weight, the sum of \
      the squares of its inputs. 'pleat quantize --importance' and llama-quantize read it. Measure \
      on the model before it is quantized, with text like that which it will be used for.

      Examples:
        pleat calibrate model/ --text text.txt -o importance.gguf
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

  @Flag(help: "Replace the output if it exists.")
  var force = false

  @OptionGroup(title: "Resources")
  var resources: ResourceOptions

  @OptionGroup(title: "Console")
  var consoleOptions: ConsoleOptions

  func validate() throws {
    if text.givenInput == nil { throw ValidationError(TextOptions.missing) }
  }

  func run() throws {
    let console = consoleOptions.console
    try Console.checkOutput()
    let opened = try Model.open(model)
    try Calibration.checkOutput(output, of: opened, text.input, replacing: force)
    var options = EvaluationOptions()
    text.apply(to: &options)
    resources.apply(to: &options)
    let calibration = try Calibration(of: opened, text.input, options)
    for note in calibration.notes { console.note(note) }
    if console.mode == .text {
      Console.printToStandardError(
        ResourceOptions.plan(
          chunkCount: calibration.chunkCount, length: calibration.contextLength,
          atOnce: calibration.chunksPerPass, byteCount: calibration.activationByteCount))
    }
    let interruption = Interruption()
    let line = ProgressLine("calibrating", console)
    defer { line?.clear() }
    let start = ContinuousClock.now
    let matrix = try calibration.run(cancellation: interruption.cancellation) {
      line?.update($0)
    }
    line?.clear()
    let copy = try ImportanceCopy(of: [matrix], to: output)
    for note in copy.notes { console.note(note) }
    try copy.write(replacing: force)
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
