internal import ArgumentParser
internal import Pleat

/// `pleat convert`: converts a model to another format, weights unchanged.
struct Convert: PlanningCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert",
    abstract: "Convert a model to another format, weights unchanged.",
    usage: "pleat convert <model> -o <path> [--to <format>] [options]",
    discussion: """
      Quantized weights keep their codes. For safetensors, they are decoded instead. A conversion \
      that has to round scales or biases to another type needs --round.

      Importance matrices of llama-imatrix become its GGUF form (.gguf) or its older form (.dat); \
      several are added up.

      Examples:
        pleat convert model.pleat --to safetensors -o back/
        pleat convert model-q4_1.gguf --to pleat -o model.pleat
        pleat convert imatrix-a.gguf imatrix-b.dat -o imatrix.gguf
      """)

  @Argument(help: "The model to read, or one or more importance matrices.", completion: .file())
  var model: [String]

  struct Conversion: ParsableArguments {
    @Option(
      help: ArgumentHelp(
        """
        Decode quantized weights to this type: F16, BF16 or F32. Other floating-point tensors get \
        it, too, but in models with the names of llama.cpp only those that a mix may round. \
        (default, if weights must be decoded: F16, and for FP8 and the like the type of the other \
        weights)
        """,
        valueName: "type"))
    var dtype: String?

    @Flag(help: "Allow rounding scales and biases to a type of the target format.")
    var round = false

    @Flag(help: "Leave out the adapters that the model carries.")
    var dropAdapters = false
  }

  @OptionGroup(title: "Conversion")
  var conversion: Conversion

  @OptionGroup(title: "Output")
  var output: OutputOptions

  @OptionGroup(title: "Console")
  var consoleOptions: ConsoleOptions

  func run() throws {
    let inputs = try model.map { (path) throws(ModelError) in try Input.open(path) }
    let matrices = inputs.compactMap(\.importance)
    if !matrices.isEmpty, matrices.count == inputs.count { return try convert(matrices) }
    try job(inputs, consoleOptions.console)()
  }

  func job(_ console: Console) throws -> WritingJob {
    try job(try model.map { (path) throws(ModelError) in try Input.open(path) }, console)
  }

  private func job(_ inputs: [Input], _ console: Console) throws -> WritingJob {
    guard case .model(let source)? = inputs.first, inputs.count == 1 else {
      throw ModelError(
        .usage, "only importance matrices can be added up",
        expected: "one model, or importance matrices alone",
        found: model.joined(separator: ", "))
    }
    let type = try conversion.dtype.map { try Recipe.floatType(named: $0) }
    let plan = try Plan.converting(
      source, decodingTo: type, to: try output.destination(),
      rounding: conversion.round, droppingAdapters: conversion.dropAdapters)
    return WritingJob(verb: "convert", plan: plan, output: output.writing, console: console)
  }

  private func convert(_ matrices: [ImportanceMatrix]) throws(ModelError) {
    let others = conversion.named + output.modelOptions
    guard others.isEmpty else {
      throw ModelError(
        .usage, "an option for models does not apply to importance matrices",
        found: others.joined(separator: ", "), hint: "leave it out")
    }
    let form = try output.to.map { (name) throws(ModelError) in
      try ImportanceCopy.form(named: name)
    }
    try ImportanceJob(
      copy: try ImportanceCopy(of: matrices, to: output.writing.output, as: form),
      output: output.writing, console: consoleOptions.console)()
  }
}

extension Convert.Conversion {
  /// The names of the options that were given.
  fileprivate var named: [String] {
    [("--dtype", dtype != nil), ("--round", round), ("--drop-adapters", dropAdapters)]
      .filter(\.1).map(\.0)
  }
}
