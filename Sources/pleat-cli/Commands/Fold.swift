internal import ArgumentParser
internal import Pleat

/// `pleat fold`: merges adapters into a model's weights.
struct Fold: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fold",
    abstract: "Merge adapters into a model's weights.",
    usage: "pleat fold <model> [--adapter <path> ...] -o <path> [options]",
    discussion: """
      A QA-LoRA adapter folds into a quantized model exactly: the offsets of groups move, no code \
      changes. A LoRA adapter needs a 16- or 32-bit base, or --requantize. What survived of the \
      adapter is measured on what was written. Without --adapter, the adapters that the model \
      carries are folded.

      Examples:
        pleat fold base.pleat --adapter qa-lora/ -o tuned.pleat
        pleat fold model/ --adapter lora/ -o merged/
        pleat fold tuned.pleat --adapter qa-lora/ --scale -1 -o base-again.pleat
      """,
    aliases: ["fuse", "merge"])

  @Argument(help: "The base model.", completion: .file())
  var model: String

  struct Permits: ParsableArguments {
    @Flag(help: "Permit decoding, adding and rounding again, which loses precision.")
    var requantize = false

    @Flag(help: "Permit rounding to whole zero points, where the base has them.")
    var round = false

    @Option(
      help: ArgumentHelp(
        """
        Store the codes of weights with whole zero points in so many bits, which makes the \
        steps of the zero points finer.
        """, valueName: "bits"))
    var widen: Int?

    @Option(
      help: ArgumentHelp(
        """
        Type of the scales and biases of the weights that are folded into: F16, BF16 or F32. \
        (default: the base's)
        """, valueName: "type"))
    var biasType: String?
  }

  @OptionGroup(title: "Folding")
  var folding: AdapterOptions

  @OptionGroup(title: "Where a fold is not exact")
  var permits: Permits

  struct Output: ParsableArguments {
    @OptionGroup
    var writing: WritingOptions

    @Option(
      help: ArgumentHelp(
        "The format to write: \(OutputOptions.formats). (default: the base's)",
        valueName: "format"),
      completion: .list(Formats.all.map(\.name)))
    var to: String?

    @OptionGroup
    var tokenizer: TokenizerOptions
  }

  @OptionGroup(title: "Output")
  var output: Output

  @OptionGroup(title: "Console")
  var talk: ConsoleOptions

  func validate() throws {
    if let bits = permits.widen, !Grouping.supportedBits.contains(bits) {
      throw ValidationError("--widen must be a code width such as 8, found \(bits)")
    }
  }

  func run() throws {
    let base = try Model.open(model)
    var options = FoldOptions()
    options.requantizes = permits.requantize
    options.rounds = permits.round
    options.widenedBits = permits.widen
    options.biasType = try permits.biasType.map { try Recipe.floatType(named: $0) }
    let destination =
      try output.to.map { (name) throws(ModelError) in
        try output.writing.destination(formatNamed: name)
      } ?? output.writing.destination(base.format)
    let uses =
      folding.adapters.isEmpty
      ? try AdapterOptions.all(in: base) : try folding.uses(in: base)
    let plan = try Plan.folding(
      uses, into: base, to: try output.tokenizer.applied(to: destination), options: options)
    try WritingJob(verb: "fold", plan: plan, output: output.writing, console: talk.console)()
  }
}
