internal import ArgumentParser
internal import Pleat

/// A text that a model reads, or several, and how they are cut.
struct TextOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The text, in UTF-8.", valueName: "path"), completion: .file())
  var text: [String] = []

  @Option(
    help: ArgumentHelp(
      "The tokens of the text: numbers of 16 or 32 bits, .npy, or JSON lines.",
      valueName: "path"), completion: .file())
  var tokens: [String] = []

  @Option(help: ArgumentHelp("Tokens in a chunk. (default: 512)", valueName: "count"))
  var context: Int?

  @Option(
    help: ArgumentHelp(
      """
      Replace the first token of each chunk by the one that begins texts; auto if the tokenizer \
      adds it to texts.
      """, valueName: "when"))
  var bos = BeginningChoice.auto

  @Option(help: ArgumentHelp("Use at most so many chunks. (default: all)", valueName: "count"))
  var chunks: Int?

  func validate() throws {
    if let context, context < 2 { throw ValidationError("--context must be at least 2") }
    if let chunks, chunks < 1 { throw ValidationError("--chunks must be at least 1") }
  }

  /// What a command says that needs one text.
  static let missing = "give either --text or --tokens"

  /// The texts, then those that are given as tokens.
  var inputs: [EvaluationText] {
    text.map { .text(path: $0) } + tokens.map { .tokens(path: $0) }
  }

  /// Sets how the text is cut.
  func apply(to options: inout EvaluationOptions) {
    options.contextLength = context
    options.beginning = bos.option
    options.chunkLimit = chunks
  }
}

/// Whether texts begin with the token that begins texts.
enum BeginningChoice: String, ExpressibleByArgument, CaseIterable {
  case auto
  case yes
  case no

  var option: TextBeginning {
    switch self {
    case .auto: .auto
    case .yes: .yes
    case .no: .no
    }
  }
}

/// The threads and the memory of commands that run a model.
struct ResourceOptions: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "Number of threads; it does not change the result. (default: one per processor)",
      valueName: "count"))
  var threads: Int?

  @Option(
    help: ArgumentHelp(
      "About how much memory activations may take. (default: 1 GiB)", valueName: "size"))
  var memory: ByteSize?

  func validate() throws {
    if let threads, threads < 1 { throw ValidationError("--threads must be at least 1") }
  }

  /// Sets the threads and the memory.
  func apply(to options: inout EvaluationOptions) {
    if let threads { options.threadCount = threads }
    if let memory { options.memoryByteCount = memory.byteCount }
  }

  /// What will be computed, and about how much memory it takes.
  static func plan(chunkCount: Int, length: Int, atOnce: Int, byteCount: Int) -> String {
    "\(Quantities.number(chunkCount, of: "chunk")) of \(Quantities.exact(length)) tokens, "
      + "\(Quantities.exact(atOnce)) at once: about \(Quantities.bytes(byteCount)) for activations"
  }
}
