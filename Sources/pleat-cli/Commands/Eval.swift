internal import ArgumentParser
internal import Pleat

/// `pleat eval`: measures how well a model predicts a text, alone or compared with a base.
struct Eval: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "eval",
    abstract: "Measure how well a model predicts a text, alone or compared with a base.",
    usage: "pleat eval <model> --text <path> [--against <model>] [options]",
    discussion: """
      Prints the perplexity as llama-perplexity defines it: the text is divided into chunks of \
      --context tokens, and the predictions of the second half of each chunk count. With \
      --against, also how far the predictions are from those of another model: the \
      Kullback-Leibler divergence, in nats.

      --adapter runs a model with adapters that are not merged into it: the model itself, or with \
      --against the other one. So a model with folded adapters is compared with its base and the \
      adapters kept apart, and the base without them is evaluated, too.

      The model may have any format and encoding that Pleat reads. Its weights are read block by \
      block, and all numbers between them are float32.

      Examples:
        pleat eval model.pleat --text wiki.test.raw
        pleat eval tuned.gguf --text wiki.test.raw --against model/
        pleat eval base.pleat --text wiki.test.raw --adapter qa-lora/
        pleat eval tuned.pleat --text t.txt --against base.pleat --adapter qa-lora/
        pleat eval model/ --tokens valid.bin --score all --bos no --json
      """)

  @Argument(help: "The model to evaluate.", completion: .file())
  var model: String

  /// Which predictions of a chunk count.
  enum Scoring: String, ExpressibleByArgument, CaseIterable {
    case half
    case all

    var option: EvaluationOptions.Scoring { self == .half ? .half : .all }
  }

  @OptionGroup(title: "Text")
  var text: TextOptions

  @Option(help: ArgumentHelp("Which predictions of a chunk count.", valueName: "which"))
  var score = Scoring.half

  struct ComparisonOptions: ParsableArguments {
    @Option(
      help: ArgumentHelp(
        """
        The model to compare the predictions with, or the file that --save-logits or \
        llama-perplexity --kl-divergence-base wrote for it. Such a file has its text, too.
        """, valueName: "path"),
      completion: .file())
    var against: String?

    @Flag(help: "Also measure the error of the output of each layer; needs --against.")
    var layers = false
  }

  @OptionGroup(title: "Comparison")
  var comparison: ComparisonOptions

  struct LogitsOptions: ParsableArguments {
    @Option(
      help: ArgumentHelp(
        """
        Also write what the model predicts, as llama-perplexity --kl-divergence-base does: in 16 \
        bits for each token of the vocabulary.
        """, valueName: "path"),
      completion: .file())
    var saveLogits: String?

    @Flag(help: "Replace the file of --save-logits if it exists.")
    var force = false
  }

  @OptionGroup(title: "Files of log probabilities")
  var logits: LogitsOptions

  @OptionGroup(title: "Adapters to apply without merging them")
  var unmerged: AdapterOptions

  @OptionGroup(title: "Resources")
  var resources: ResourceOptions

  @OptionGroup(title: "Console")
  var consoleOptions: ConsoleOptions

  func validate() throws {
    if text.inputs.count > 1 || text.inputs.isEmpty && comparison.against == nil {
      throw ValidationError(TextOptions.missing)
    }
    if logits.force && logits.saveLogits == nil {
      throw ValidationError("--force needs --save-logits")
    }
    if comparison.layers && comparison.against == nil {
      throw ValidationError("--layers needs --against")
    }
  }

  func run() throws {
    let console = consoleOptions.console
    try Console.checkOutput()
    let opened = try Model.open(model)
    let (adapters, base) = try inputs(opened)
    var options = EvaluationOptions()
    text.apply(to: &options)
    resources.apply(to: &options)
    options.scoring = score.option
    options.measuresLayers = comparison.layers
    options.logitsPath = logits.saveLogits
    options.replacesLogits = logits.force
    let evaluation = try Evaluation(
      of: opened, with: adapters, against: base, text.inputs.first, options)
    for note in evaluation.notes { console.note(note) }
    if console.mode == .text {
      Console.printToStandardError(
        ResourceOptions.plan(
          chunkCount: evaluation.chunkCount, length: evaluation.contextLength,
          atOnce: evaluation.chunksPerPass, byteCount: evaluation.activationByteCount))
      if let byteCount = evaluation.logitsByteCount {
        Console.printToStandardError(
          "\(Quantities.bytes(byteCount)) of log probabilities will be written")
      }
    }
    let start = ContinuousClock.now
    let interruption = Interruption()
    let line = ProgressLine("evaluating", console)
    defer { line?.clear() }
    let result = try evaluation.run(cancellation: interruption.cancellation) {
      line?.update($0)
    }
    line?.clear()
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let lines = EvaluationLines(result, evaluation, seconds: seconds)
    console.print(
      lines.all,
      json: result.json(
        of: evaluation, path: model, seconds: seconds))
  }

  /// The adapters of the model, and what it is compared with.
  ///
  /// The adapters of the command line are those of the model of `--against`, if there is one.
  private func inputs(
    _ model: Model
  ) throws(ModelError) -> (adapters: [AppliedAdapter], base: EvaluationBase?) {
    let base = try comparison.against.map { path throws(ModelError) in
      try EvaluationBase.open(path)
    }
    guard case .model(let other, _) = base else { return (try unmerged.uses(in: model), base) }
    return ([], .model(other, adapters: try unmerged.uses(in: other)))
  }
}
