internal import ArgumentParser
internal import Pleat

/// `pleat run`: continues a text, to look at a model before it is shipped.
struct RunModel: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Answer a prompt, or continue a text, with a model.",
    usage: "pleat run <model> <prompt> [options]",
    discussion: """
      If the model has a chat template, the prompt is a message of the user, and the model answers. \
      With --raw, and for other models, the prompt is a text that is continued as it is written.

      Prints what is added to standard output while it is computed: the most probable token each \
      time, or with --temperature one that is drawn.

      Examples:
        pleat run model.gguf 'Which city is the capital of France?'
        pleat run model.gguf 'The capital of France is' --raw
        pleat run model/ 'Write a haiku.' --system 'You are a poet.'
        pleat run model.pleat 'Once upon' --temperature 0.8 --max-tokens 200
      """)

  @Argument(help: "The model to run.", completion: .file())
  var model: String

  @Argument(
    help: ArgumentHelp("The message to answer, or the text to continue.", valueName: "prompt"))
  var prompt: String

  struct Messages: ParsableArguments {
    @Flag(help: "Continue the prompt as it is written, without the model's chat template.")
    var raw = false

    @Option(
      help: ArgumentHelp("Begin with this message of the system.", valueName: "text"))
    var system: String?

    @Option(
      help: ArgumentHelp(
        "The day that the chat template writes as the current date, if it does.",
        valueName: "YYYY-MM-DD"))
    var date: String?
  }

  @OptionGroup(title: "Messages")
  var messages: Messages

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
        """
        Put the token that begins texts before the prompt; auto if the tokenizer adds it and no chat \
        template is used.
        """,
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

  @Option(
    help: ArgumentHelp(
      """
      How much memory weights may stay in; others are read again for each token. (default: half of \
      the machine's)
      """, valueName: "size"))
  var memory: ByteSize?

  @OptionGroup(title: "Console")
  var consoleOptions: ConsoleOptions

  func validate() throws {
    if messages.raw, messages.system != nil {
      throw ValidationError("--system is for a chat template, which --raw does not use")
    }
    if messages.raw, messages.date != nil {
      throw ValidationError("--date is for a chat template, which --raw does not use")
    }
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
    options.usesTemplate = !messages.raw
    options.system = messages.system
    options.date = messages.date
    options.threadCount = threads
    let opened = try LanguageModel.open(
      model, memoryByteCount: memory?.byteCount ?? LanguageModel.defaultMemoryByteCount)
    let generation = try Generation(of: opened, prompt, options)
    for note in opened.notes { console.note(note) }
    let interruption = Interruption()
    let start = ContinuousClock.now
    var text: [UInt8] = []
    let result = try generation.run(cancellation: interruption.cancellation) { bytes in
      text += bytes
      console.stream(bytes)
    }
    console.stream([UInt8(ascii: "\n")])
    if result.end == .stopped { throw ModelError(.interrupted, "stopped on request") }
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    console.print(
      [],
      json: [
        "schema": "pleat.run.1", "path": .string(model), "prompt": .string(prompt),
        "renderedPrompt": .string(generation.promptText),
        "promptTokens": .array(generation.prompt.map { JSONValue(Int($0)) }),
        "tokens": .array(result.tokens.map { JSONValue(Int($0)) }),
        "text": .string(String(decoding: text, as: UTF8.self)),
        "end": .string(result.end.rawValue), "seconds": .number(seconds),
      ])
  }
}
