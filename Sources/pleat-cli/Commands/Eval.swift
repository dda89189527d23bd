internal import ArgumentParser
internal import Pleat

/// `pleat eval`: measures how well a model predicts a text, alone or compared with a base.
struct Eval: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "eval",
    abstract: "Measure how well a model predicts a text, alone or compared with a base.",
    usage: "pleat eval <model> --text <path> [--against <model>] [--adapter <path> ...] [options]",
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
        pleat eval tuned.pleat --text wiki.test.raw --against base.pleat --adapter qa-lora/
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
      help: ArgumentHelp("The model to compare the predictions with.", valueName: "model"),
      completion: .file())
    var against: String?

    @Flag(help: "Also measure the error of the output of each layer; needs --against.")
    var layers = false
  }

  @OptionGroup(title: "Comparison")
  var comparison: ComparisonOptions

  @OptionGroup(title: "Adapters to apply without merging them")
  var unmerged: AdapterOptions

  @OptionGroup(title: "Resources")
  var resources: ResourceOptions

  @OptionGroup(title: "Console")
  var consoleOptions: ConsoleOptions

  func validate() throws {
    if comparison.layers && comparison.against == nil {
      throw ValidationError("--layers needs --against")
    }
  }

  func run() throws {
    let console = consoleOptions.console
    try Console.checkOutput()
    let opened = try Model.open(model)
    let base = try comparison.against.map { try Model.open($0) }
    var options = EvaluationOptions()
    text.apply(to: &options)
    resources.apply(to: &options)
    options.scoring = score.option
    options.measuresLayers = comparison.layers
    let adapters = try unmerged.uses(in: base ?? opened)
    let evaluation = try Evaluation(
      of: opened, with: base == nil ? adapters : [], against: base,
      with: base == nil ? [] : adapters, text.input, options)
    for note in evaluation.notes { console.note(note) }
    if console.mode == .text {
      Console.printToStandardError(
        ResourceOptions.plan(
          chunkCount: evaluation.chunkCount, length: evaluation.contextLength,
          atOnce: evaluation.chunksPerPass, byteCount: evaluation.activationByteCount))
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
        of: evaluation, path: model, basePath: comparison.against, adapters: adapters,
        seconds: seconds))
  }
}
