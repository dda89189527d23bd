internal import ArgumentParser
internal import Pleat

/// `pleat convert`: rewrites a model in another format, weights unchanged.
struct Convert: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert",
    abstract: "Rewrite a model in another format, weights unchanged.",
    usage: "pleat convert <model> -o <path> --to <format> [options]",
    discussion: """
      Refuses when the target cannot hold the weights exactly; --round permits the nearest form. \
      Quantized weights are decoded for safetensors.

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
        Decode quantized weights to this type, F16, BF16 or F32; in safetensors and mlx all \
        floating-point tensors become it. (default: F16, where weights must be decoded)
        """,
        valueName: "type"))
    var dtype: String?

    @Flag(help: "Permit rounding where the target format needs it.")
    var round = false

    @Flag(help: "Leave out adapters that the model carries.")
    var dropAdapters = false
  }

  @OptionGroup(title: "Conversion")
  var conversion: Conversion

  @OptionGroup(title: "Output")
  var output: OutputOptions

  @OptionGroup(title: "Console")
  var talk: ConsoleOptions

  func run() throws {
    let type = try conversion.dtype.map { try Recipe.floatType(named: $0) }
    let plan = try Plan.converting(
      try Model.open(model), decodingTo: type, to: try output.destination(),
      rounding: conversion.round, droppingAdapters: conversion.dropAdapters)
    try WritingJob(verb: "convert", plan: plan, output: output.writing, console: talk.console)()
  }
}
