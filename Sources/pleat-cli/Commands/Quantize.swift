internal import ArgumentParser
internal import Pleat

/// `pleat quantize`: quantizes a model's weights in groups of 2- to 8-bit codes.
struct Quantize: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quantize",
    abstract: "Quantize a model's weights in groups of 2- to 8-bit codes.",
    usage: "pleat quantize <model> -o <path> [--to <format>] [options]",
    discussion: """
      The weights of linear layers are quantized; norms, biases, routers and towers for pictures \
      or sound are not. Token embeddings and the output head are quantized for gguf and mlx only. \
      Rules change this by tensor name.

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
        Quantize weights to this block type of llama.cpp: \
        \(Recipe.typeNames.joined(separator: ", ")). Replaces --bits and --group-size.
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
        """
        Number of adjacent weights of a row that share one scale, or 'row' for whole rows. \
        (default: 32; mlx 64; gptq, awq and compressed-tensors 128)
        """, valueName: "count"))
    var groupSize: String?

    @Option(
      help: ArgumentHelp(
        """
        How a group's scale and offset are chosen: \
        \(Recipe.schemeSummaries.joined(separator: ", ")). (default: the usual one of the output \
        format)
        """, valueName: "scheme"),
      completion: .list(Recipe.schemeNames))
    var scheme: String?

    @Option(
      help: ArgumentHelp(
        "Type in which scales and biases are stored: F16, BF16 or F32. (default: F16)",
        valueName: "type"))
    var parameters: String?

    @Option(
      help: ArgumentHelp(
        """
        Choice for the tensors whose name matches: '*.down_proj=8:32' (bits and group size), \
        '*.weight=Q8_0' (block type) or 'lm_head=keep' (not quantized). Repeatable; the last \
        matching rule applies.
        """, valueName: "glob=rule"))
    var rule: [String] = []

    @Option(
      help: ArgumentHelp(
        """
        Read bits, group size, scheme and rules from this JSON file. Other options override it.
        """, valueName: "path"),
      completion: .file(extensions: ["json"]))
    var recipe: String?

    @Flag(
      help: "Fail if a weight cannot be quantized as asked, instead of keeping it with a note.")
    var strict = false

    @Flag(help: "Allow quantizing weights that are already quantized, which loses precision.")
    var requantize = false
  }

  @OptionGroup(title: "Quantization")
  var quantization: Quantization

  @OptionGroup(title: "Adapters")
  var folding: AdapterOptions

  @OptionGroup(title: "Output")
  var output: OutputOptions

  @OptionGroup(title: "Console")
  var consoleOptions: ConsoleOptions

  func run() throws {
    let source = try Model.open(model)
    let plan = try Plan.quantizing(
      source, try quantization.resolved(), to: try output.destination(),
      requantizing: quantization.requantize,
      demanding: quantization.strict ? .everything : .something,
      adding: try folding.uses(in: source))
    try WritingJob(
      verb: "quantize", plan: plan, output: output.writing, console: consoleOptions.console)()
  }
}

extension Quantize.Quantization {
  /// The recipe of `--recipe`, if given, with the other options applied on top.
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
