internal import ArgumentParser
internal import Pleat

/// `pleat convert`: converts a model to another format, weights unchanged.
struct Convert: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert",
    abstract: "Convert a model to another format, weights unchanged.",
    usage: "pleat convert <model> -o <path> [--to <format>] [options]",
    discussion: """
      Quantized weights keep their codes. For safetensors, they are decoded instead. A conversion \
      that has to round scales or biases to another type needs --round.

      Examples:
        pleat convert model.pleat --to safetensors -o back/
        pleat convert model-q4_1.gguf --to pleat -o model.pleat
      """)

  @Argument(help: "The model to read.", completion: .file())
  var model: String

  struct Conversion: ParsableArguments {
    @Option(
      help: ArgumentHelp(
        """
        Decode quantized weights to this type: F16, BF16 or F32. In all formats but gguf and \
        pleat, other floating-point tensors get this type, too. (default: F16 if weights must be \
        decoded)
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
    let type = try conversion.dtype.map { try Recipe.floatType(named: $0) }
    let plan = try Plan.converting(
      try Model.open(model), decodingTo: type, to: try output.destination(),
      rounding: conversion.round, droppingAdapters: conversion.dropAdapters)
    try WritingJob(
      verb: "convert", plan: plan, output: output.writing, console: consoleOptions.console)()
  }
}
