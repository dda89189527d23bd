internal import ArgumentParser
internal import Pleat

/// `pleat quantize`: quantizes a model's weights in groups of 2- to 8-bit codes.
struct Quantize: PlanningCommand {
  static let configuration = CommandConfiguration(
    commandName: "quantize",
    abstract: "Quantize a model's weights to 2 to 8 bits.",
    usage: "pleat quantize <model> -o <path> [--to <format>] [options]",
    discussion: """
      Weights become groups of codes, blocks of llama.cpp (--type), or FP4 and FP8 codes as MLX \
      makes them (--mode). The weights of linear layers \
      are quantized; norms, biases, routers and towers for pictures or sound are not. Token \
      embeddings and the output head are quantized for gguf and mlx, and by mixes. Rules change \
      this by tensor name. Without options, gguf gets the mix Q4_K_M.

      Examples:
        pleat quantize model/ --to pleat -o model.pleat
        pleat quantize model-f16.gguf --to gguf -o model-q4_k_m.gguf
        pleat quantize f16.gguf --to gguf --type Q4_0 --scheme ggml -o q4_0.gguf
        pleat quantize model/ --type Q3_K_M --importance imatrix.gguf -o q3.gguf
        pleat quantize model-f16.gguf --to gguf -b 4 -o model-q4_1.gguf
        pleat quantize model/ --to mlx --mode mxfp4 -o model-mxfp4/
        pleat quantize model/ --adapter lora/ --to pleat -o merged.pleat
        pleat quantize model/ --to pleat --rule '*.down_proj=8' -n -o model.pleat
      """)

  @Argument(help: "The model to read.", completion: .file())
  var model: String

  struct Quantization: ParsableArguments {
    @Option(
      help: ArgumentHelp(
        """
        Give each tensor the block type that it has in this mix of llama.cpp: \
        \(Recipe.mixNames.joined(separator: ", ")). Replaces --bits, --group-size and --offset. (default \
        for gguf without --bits, --group-size, --offset, --scheme and QA-LoRA adapters: Q4_K_M)
        """, valueName: "name"),
      completion: .list(Recipe.mixNames))
    var type: String?

    @Flag(help: "With a mix: give all tensors the type that most tensors of the mix have.")
    var pure = false

    @Option(
      name: [.customLong("output-type"), .customLong("output-tensor-type")],
      help: ArgumentHelp(
        "With a mix: the block type of the output head, such as Q8_0.", valueName: "name"),
      completion: .list(Recipe.typeNames))
    var outputType: String?

    @Option(
      name: [.customLong("embedding-type"), .customLong("token-embedding-type")],
      help: ArgumentHelp(
        "With a mix: the block type of the token embeddings.", valueName: "name"),
      completion: .list(Recipe.typeNames))
    var embeddingType: String?

    @Option(
      help: ArgumentHelp(
        """
        Make the codes and scales of this mode of MLX, with its bits and group size, for mlx and \
        pleat: \(Recipe.modeNames.joined(separator: ", ")).
        """, valueName: "name"),
      completion: .list(Recipe.modeNames))
    var mode: String?

    @Option(
      name: .shortAndLong,
      help: ArgumentHelp(
        "Bits per weight in groups: 2, 3, 4, 5, 6 or 8. (default: 4)", valueName: "bits"))
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
        What a group stores besides its scale: \(Recipe.offsetNames.joined(separator: ", ")). \
        (default: bias, or what the output format stores; compressed-tensors none)
        """, valueName: "offset"),
      completion: .list(Recipe.offsetNames))
    var offset: String?

    @Option(
      help: ArgumentHelp(
        """
        How a group's scale and offset are chosen: \
        \(Recipe.schemeSummaries.joined(separator: ", ")). (default: search)
        """, valueName: "scheme"),
      completion: .list(Recipe.schemeNames))
    var scheme: String?

    @Option(
      help: ArgumentHelp(
        "How long schemes that search for better numbers do so: fast, default or best.",
        valueName: "effort"),
      completion: .list(Effort.allCases.map(\.rawValue)))
    var effort: String?

    @Option(
      name: [.long, .customLong("imatrix")],
      help: ArgumentHelp(
        """
        Importance matrix of llama-imatrix (.gguf or .dat): how much an error in each column of a \
        weight counts. Repeatable; several are added up.
        """, valueName: "path"),
      completion: .file(extensions: ["gguf", "dat"]))
    var importance: [String] = []

    @Option(
      help: ArgumentHelp(
        """
        Type in which scales and biases are stored: F16, BF16 or F32. (default: F16; with --mode \
        that of the weights)
        """, valueName: "type"))
    var parameters: String?

    @Option(
      help: ArgumentHelp(
        """
        Choice for the tensors whose name matches: '*.down_proj=8:32' (bits and group size), \
        '*.weight=Q8_0' (block type), '*.mlp.*=mxfp8' (mode) or 'lm_head=keep' (not quantized). \
        Repeatable; the last matching rule applies.
        """, valueName: "glob=rule"))
    var rule: [String] = []

    @Option(
      help: ArgumentHelp(
        """
        Read type, mode or bits, group size, offset, scheme, effort and rules from this JSON file. \
        Other options override it.
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

  func run() throws { try job(consoleOptions.console)() }

  func job(_ console: Console) throws -> WritingJob {
    let source = try Model.open(model)
    let importance = try quantization.importance(for: source)
    if let importance { console.note(importance.summary) }
    var destination = try output.destination()
    destination.otherInputs += [quantization.recipe].compactMap(\.self)
    let plan = try Plan.quantizing(
      source, try quantization.resolved(), to: destination, weighing: importance,
      requantizing: quantization.requantize,
      demanding: quantization.strict ? .everything : .something,
      adding: try folding.uses(in: source))
    return WritingJob(verb: "quantize", plan: plan, output: output.writing, console: console)
  }
}

extension Quantize.Quantization {
  /// What the matrices of `--importance` say about a model; nil without the option.
  fileprivate func importance(for model: Model) throws(ModelError) -> Importance? {
    guard !importance.isEmpty else { return nil }
    var matrices: [ImportanceMatrix] = []
    for path in importance { matrices.append(try ImportanceMatrix.read(path)) }
    return try Importance(try ImportanceMatrix.merged(matrices), for: model)
  }

  /// The recipe of `--recipe`, if given, with the other options applied on top.
  fileprivate func resolved() throws(ModelError) -> Recipe {
    var result =
      try recipe.map { (path) throws(ModelError) in try Recipe(reading: path) } ?? Recipe()
    if let type {
      if bits != nil { throw Recipe.conflict("--type", "--bits") }
      if groupSize != nil { throw Recipe.conflict("--type", "--group-size") }
      if offset != nil { throw Recipe.conflict("--type", "--offset") }
      result.type = try Recipe.mixName(type)
    }
    if pure { result.isPure = true }
    if bits != nil || groupSize != nil || offset != nil || mode != nil {
      // Groups and modes replace the mix of the recipe, with all that changes it.
      result.type = type == nil ? nil : result.type
      (result.isPure, result.outputType, result.embeddingType) = (pure, nil, nil)
    }
    if let mode {
      result.mode = try Recipe.mode(named: mode)
      (result.bits, result.group, result.offset) = (nil, nil, nil)
      (result.scheme, result.effort) = (nil, nil)
    } else if type != nil || bits != nil || groupSize != nil || offset != nil {
      result.mode = nil
    }
    if let outputType { result.outputType = try Recipe.typeName(outputType) }
    if let embeddingType { result.embeddingType = try Recipe.typeName(embeddingType) }
    if let bits { result.bits = bits }
    if let groupSize { result.group = try GroupSize(text: groupSize) }
    if let offset { result.offset = try Recipe.offset(named: offset) }
    if let scheme { result.scheme = scheme }
    if let effort { result.effort = try Recipe.effort(named: effort) }
    if let parameters { result.parameters = try Recipe.floatType(named: parameters) }
    for text in rule { result.rules.append(try Rule(text: text)) }
    try result.validate()
    return result
  }
}
