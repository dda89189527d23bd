internal import ArgumentParser
internal import Pleat

/// `pleat run`: continues a text, to look at a model before it is shipped.
struct RunModel: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Continue a text with a model.",
    usage: "pleat run <model> <prompt> [options]",
    discussion: """
      Prints the prompt's continuation to standard output while it is computed: the most probable \
      token each time, or with --temperature one that is drawn. The prompt is continued as it is \
      written; no chat template is applied.

      Examples:
        pleat run model.gguf 'The capital of France is'
        pleat run model.pleat 'Once upon' --temperature 0.8 --max-tokens 200
      """)

  @Argument(help: "The model to run.", completion: .file())
  var model: String

  @Argument(help: ArgumentHelp("The text to continue.", valueName: "prompt"))
  var prompt: String

  struct Choice: ParsableArguments {
    @Option(help: ArgumentHelp("Add at most so many tokens.", valueName: "count"))
    var maxTokens = 128

    @Option(
      help: ArgumentHelp(
        "What logits are divided by before a token is drawn; 0 takes the most probable one.",
        valueName: "number"))
    var temperature = 0.0

    @Option(help: ArgumentHelp("The seed of the random numbers.", valueName: "number"))
    var seed: UInt64 = 0

    @Option(
      help: ArgumentHelp(
        "Put the token that begins texts before the prompt; auto if the tokenizer adds it.",
        valueName: "when"))
    var bos = BeginningChoice.auto
  }

  @OptionGroup(title: "Tokens")
  var choice: Choice

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "Number of threads; it does not change the result. (default: one per processor)",
      valueName: "count"))
  var threads: Int?

  @OptionGroup(title: "Console")
  var consoleOptions: ConsoleOptions

  func validate() throws {
    if choice.maxTokens < 1 { throw ValidationError("--max-tokens must be at least 1") }
    if !(choice.temperature >= 0 && choice.temperature.isFinite) {
      throw ValidationError("--temperature must be 0 or more")
    }
    if let threads, threads < 1 { throw ValidationError("--threads must be at least 1") }
  }

  func run() throws {
    let console = consoleOptions.console
    try Console.checkOutput()
    var options = Generation.Options()
    options.tokenLimit = choice.maxTokens
    options.temperature = choice.temperature
    options.seed = choice.seed
    options.beginning = choice.bos.option
    options.threadCount = threads ?? Evaluation.defaultThreadCount
    let generation = try Generation(of: try Model.open(model), prompt, options)
    for note in generation.notes { console.note(note) }
    let interruption = Interruption()
    let start = ContinuousClock.now
    var text: [UInt8] = []
    let result = try generation.run(cancellation: interruption.cancellation) { bytes in
      text += bytes
      console.stream(bytes)
    }
    console.stream([UInt8(ascii: "\n")])
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    console.print(
      [],
      json: [
        "schema": "pleat.run.1", "path": .string(model), "prompt": .string(prompt),
        "promptTokens": .array(generation.prompt.map { JSONValue(Int($0)) }),
        "tokens": .array(result.tokens.map { JSONValue(Int($0)) }),
        "text": .string(String(decoding: text, as: UTF8.self)),
        "end": .string(result.end.rawValue), "seconds": .number(seconds),
      ])
  }
}
