internal import ArgumentParser
internal import Pleat

/// `pleat fold`: merges adapters into a model's weights.
struct Fold: PlanningCommand {
  static let configuration = CommandConfiguration(
    commandName: "fold",
    abstract: "Merge adapters into a model's weights.",
    usage: "pleat fold <model> [--adapter <path> ...] -o <path> [options]",
    discussion: """
      A QA-LoRA adapter folds exactly into groups with a bias: the biases change, the codes do \
      not. Zero points and the minima of Q2_K, Q4_K and Q5_K need --round. A LoRA adapter needs a \
      16- or 32-bit base model; or --dequantize, which writes 16-bit weights; or --requantize. \
      Without --adapter, the adapters that the model carries are folded.

      The adapter error in the report is how far the written weights are from base model plus \
      adapter, relative to the adapter: 0 % means that all of it arrived.

      Examples:
        pleat fold base.pleat --adapter qa-lora/ -o tuned.pleat
        pleat fold model/ --adapter lora/ -o merged/
        pleat fold tuned.pleat --adapter qa-lora/ --scale -1 -o base-again.pleat
      """,
    aliases: ["fuse", "merge"])

  @Argument(help: "The base model.", completion: .file())
  var model: String

  struct Permits: ParsableArguments {
    @Flag(help: "Allow decoding weights and quantizing them again, which loses precision.")
    var requantize = false

    @Flag(
      help: """
        Write all quantized weights as plain numbers, in the type of their scales. Takes any \
        adapter, and more space.
        """)
    var dequantize = false

    @Flag(
      help: """
        Allow rounding to integer zero points, to the small integers of minima (Q2_K, Q4_K, \
        Q5_K), or to F16 scales, where the output stores them.
        """)
    var round = false

    @Option(
      help: ArgumentHelp(
        """
        Store the codes of weights with zero points in this many bits, so that the zero points \
        have finer steps.
        """, valueName: "bits"))
    var widen: Int?

    @Option(
      help: ArgumentHelp(
        """
        Store scales and biases of the changed weights in this type: F16, BF16 or F32. Zero \
        points become biases. (default: as in the base model)
        """, valueName: "type"))
    var biasType: String?
  }

  @OptionGroup(title: "Folding")
  var folding: AdapterOptions

  @OptionGroup(title: "Folds that are not exact")
  var permits: Permits

  struct Output: ParsableArguments {
    @OptionGroup
    var writing: WritingOptions

    @Option(
      help: ArgumentHelp(
        "The format to write: \(OutputOptions.formats). (default: that of the base model)",
        valueName: "format"),
      completion: .list(Formats.all.map(\.name)))
    var to: String?

    @OptionGroup
    var companions: CompanionOptions
  }

  @OptionGroup(title: "Output")
  var output: Output

  @OptionGroup(title: "Console")
  var consoleOptions: ConsoleOptions

  func validate() throws {
    if let bits = permits.widen, !Grouping.supportedBits.contains(bits) {
      throw ValidationError("--widen must be a code width such as 8, found \(bits)")
    }
  }

  func run() throws { try job(consoleOptions.console)() }

  func job(_ console: Console) throws -> WritingJob {
    let base = try Model.open(model)
    var options = FoldOptions()
    options.requantizes = permits.requantize
    options.dequantizes = permits.dequantize
    options.rounds = permits.round
    options.widenedBits = permits.widen
    options.biasType = try permits.biasType.map { try Recipe.floatType(named: $0) }
    let destination =
      try output.to.map { (name) throws(ModelError) in
        try output.writing.destination(formatNamed: name)
      }
      ?? output.writing.destination(
        permits.dequantize ? base.format.forPlainNumbers : base.format)
    let uses =
      folding.adapters.isEmpty
      ? try AdapterOptions.all(in: base) : try folding.uses(in: base)
    let plan = try Plan.folding(
      uses, into: base, to: try output.companions.applied(to: destination), options: options)
    return WritingJob(verb: "fold", plan: plan, output: output.writing, console: console)
  }
}
