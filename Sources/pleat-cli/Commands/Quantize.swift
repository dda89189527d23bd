internal import ArgumentParser
internal import Pleat

/// `pleat quantize`: rounds a model's weights to a few bits per group.
struct Quantize: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quantize",
    abstract: "Round a model's weights to a few bits per group.",
    usage: "pleat quantize <model> -o <path> --to <format> [options]",
    discussion: """
      Norms, biases and tensors a rule keeps are copied. Rules apply in order; the last match wins.

      Examples:
        pleat quantize model/ --to pleat -o model.pleat
        pleat quantize model-f16.gguf --to gguf -b 4 -o model-q4_1.gguf
        pleat quantize f16.gguf --to gguf --type Q4_0 --scheme ggml -o q4_0.gguf
        pleat quantize model/ --adapter lora/ --to pleat -o merged.pleat
        pleat quantize model/ --to pleat --rule '*.down_proj=8' -n -o model.pleat
      """)

  @Argument(help: "The model to read.", completion: .file())
  var model: String

  struct Quantization: ParsableArguments {
    @Option(
      help: ArgumentHelp(
        """
        All weights in blocks of llama.cpp: \(Recipe.typeNames.joined(separator: ", ")); instead \
        of --bits and --group-size.
        """, valueName: "name"),
      completion: .list(Recipe.typeNames))
    var type: String?

    @Option(
      name: .shortAndLong,
      help: ArgumentHelp(
        "Bits per weight: 2, 3, 4, 5, 6 or 8. (default: 4)", valueName: "bits"))
    var bits: Int?

    @Option(
      name: [.customShort("g"), .long],
      help: ArgumentHelp(
        "Weights that share one scale, along a row; or 'row'. (default: 32, mlx 64, others for vLLM 128)",
        valueName: "count"))
    var groupSize: String?

    @Option(
      help: ArgumentHelp(
        """
        How a group's scale and offset are chosen: \
        \(Recipe.schemeSummaries.joined(separator: ", ")). (default: the first that the format \
        holds)
        """, valueName: "scheme"),
      completion: .list(Recipe.schemeNames))
    var scheme: String?

    @Option(
      help: ArgumentHelp(
        "The stored type of scales and biases: F16, BF16 or F32. (default: F16)",
        valueName: "type"))
    var parameters: String?

    @Option(
      help: ArgumentHelp(
        """
        Override by name, such as '*.down_proj=8:32', 'lm_head=keep' or '*.weight=Q8_0'. \
        Repeatable.
        """, valueName: "glob=rule"))
    var rule: [String] = []

    @Option(
      help: ArgumentHelp("Read bits, groups and rules from a JSON recipe.", valueName: "path"),
      completion: .file(extensions: ["json"]))
    var recipe: String?

    @Flag(help: "Permit rounding weights that are quantized already; this loses precision.")
    var requantize = false
  }

  @OptionGroup(title: "Quantization")
  var quantization: Quantization

  @OptionGroup(title: "Adapters")
  var folding: AdapterOptions

  @OptionGroup(title: "Output")
  var output: OutputOptions

  @OptionGroup(title: "Console")
  var talk: ConsoleOptions

  func run() throws {
    let source = try Model.open(model)
    let plan = try Plan.quantizing(
      source, try quantization.resolved(), to: try output.destination(),
      requantizing: quantization.requantize, adding: try folding.uses(in: source))
    try WritingJob(verb: "quantize", plan: plan, output: output.writing, console: talk.console)()
  }
}

extension Quantize.Quantization {
  /// The recipe file, if any, with the options on top of it.
  fileprivate func resolved() throws(ModelError) -> Recipe {
    var result =
      try recipe.map { (path) throws(ModelError) in try Recipe(reading: path) } ?? Recipe()
    if let type {
      if bits != nil { throw Recipe.conflict("--type", "--bits") }
      if groupSize != nil { throw Recipe.conflict("--type", "--group-size") }
      result.type = try Recipe.typeName(type)
    }
    if let bits { (result.bits, result.type) = (bits, nil) }
    if let groupSize { (result.group, result.type) = (try GroupSize(text: groupSize), nil) }
    if let scheme { result.scheme = scheme }
    if let parameters { result.parameters = try Recipe.floatType(named: parameters) }
    for text in rule { result.rules.append(try Rule(text: text)) }
    try result.validate()
    return result
  }
}
