internal import ArgumentParser
internal import Pleat

/// `pleat tokenize`: shows the tokens of a text, or writes them to a file.
struct Tokenize: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize",
    abstract: "Show the tokens of a text, or write them to a file.",
    usage: "pleat tokenize <model> [<text>] [options]",
    discussion: """
      The model is any model with a tokenizer, or a folder with the files of one. The ids are \
      those of Hugging Face's tokenizers for the same files; of a GGUF model that embeds texts, \
      those of llama.cpp.

      Examples:
        pleat tokenize model/ 'Once upon a time'
        pleat tokenize model.gguf --text book.txt -o book.npy
        pleat tokenize model/ --tokens book.bin --json
      """)

  @Argument(help: "The model, or a folder with a tokenizer.", completion: .file())
  var model: String

  @Argument(help: ArgumentHelp("The text to tokenize.", valueName: "text"))
  var words: String?

  struct Input: ParsableArguments {
    @Option(
      help: ArgumentHelp("Tokenize this file, which is UTF-8.", valueName: "path"),
      completion: .file())
    var text: String?

    @Option(
      help: ArgumentHelp(
        """
        Read tokens from this file instead: .npy, JSON lines, or 16-bit or 32-bit numbers as \
        --output writes them.
        """, valueName: "path"),
      completion: .file())
    var tokens: String?

    @Option(
      help: ArgumentHelp(
        """
        Put the token that begins texts before the text; auto adds what the tokenizer states, \
        also after it.
        """, valueName: "when"))
    var bos = BeginningChoice.auto
  }

  struct Output: ParsableArguments {
    @Option(
      name: .shortAndLong,
      help: ArgumentHelp(
        """
        Write the ids to this file: little-endian numbers of 16 bits, or of 32 if the vocabulary \
        has more than 65,536 tokens. A name that ends in .npy gets NumPy's header.
        """, valueName: "path"),
      completion: .file())
    var output: String?

    @Flag(help: "Replace the output if it exists.")
    var force = false
  }

  @OptionGroup(title: "Input")
  var input: Input

  @OptionGroup(title: "Output")
  var output: Output

  @OptionGroup(title: "Console")
  var consoleOptions: ConsoleOptions

  func validate() throws {
    let given = [words, input.text, input.tokens].compactMap { $0 }
    if given.count != 1 {
      throw ValidationError("give one of: a text, --text or --tokens")
    }
    if input.tokens != nil, input.bos != .auto {
      throw ValidationError("--bos is for texts, not for --tokens")
    }
  }

  func run() throws {
    let console = consoleOptions.console
    try Console.checkOutput()
    let result = try tokenized()
    guard let path = output.output else {
      return console.print(lines(result, console), json: result.json)
    }
    try result.write(to: path, replacing: output.force)
    console.print(
      ["wrote \(console.style.strong(path.escaped))  \(result.ids.count) tokens"],
      json: result.json)
  }

  private func tokenized() throws(ModelError) -> TokenizedText {
    if let words { return try TokenizedText(words, by: model, beginning: input.bos.option) }
    if let path = input.text {
      return try TokenizedText(file: path, by: model, beginning: input.bos.option)
    }
    return try TokenizedText(tokens: input.tokens ?? "", by: model)
  }

  /// The ids in a line, or with `--verbose` a line for each token with its text.
  private func lines(_ result: TokenizedText, _ console: Console) -> [String] {
    guard console.isVerbose else { return [result.ids.map(String.init).joined(separator: " ")] }
    return zip(result.ids, result.pieces).map { "\($0)\t\($1.escaped)" }
  }
}
