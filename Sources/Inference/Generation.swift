public import TensorModel
internal import Tokens

/// The continuation of a text by a model, token by token.
public struct Generation: Sendable {
  /// How tokens are chosen.
  public struct Options: Sendable {
    /// The largest number of tokens that are added.
    public var tokenLimit = 128
    /// What logits are divided by before a token is drawn; 0 takes the most probable one.
    public var temperature = 0.0
    /// The seed of the random numbers.
    public var seed: UInt64 = 0
    /// Whether the token that begins texts comes before the prompt.
    ///
    /// `auto` adds none to what a chat template writes.
    public var beginning = TextBeginning.auto
    /// Whether the prompt is a message of the user, written as the model's chat template says.
    ///
    /// A model without a template continues the prompt as it is.
    public var usesTemplate = true
    /// A message of the system before the prompt, for the chat template.
    public var system: String?
    /// The day that the chat template may write as the current date, such as `2026-11-30`.
    ///
    /// Without one, a template that writes the date is refused: no result depends on the time.
    public var date: String?
    /// The number of threads; nil for one per processor.
    public var threadCount: Int?

    /// The usual options.
    public init() {}
  }

  /// The text of the prompt, as the chat template of the model writes it.
  public let promptText: String
  /// The tokens of the prompt.
  public let prompt: [Int32]
  private let model: LanguageModel
  private let options: Options

  /// Prepares the continuation of a prompt.
  ///
  /// Throws `unsupported` for tokenizers and chat templates that Pleat does not run, `usage` for an
  /// empty prompt, and for messages that the template refuses or that have no template, and what
  /// reading throws.
  public init(of model: LanguageModel, _ text: String, _ options: Options) throws(ModelError) {
    self.model = model
    self.options = options
    let tokenizer = try model.tokenizer
    var messages = options.system.map { [ChatMessage(role: "system", content: $0)] } ?? []
    messages.append(ChatMessage(role: "user", content: text))
    let chat =
      options.usesTemplate
      ? try ChatPrompt.text(messages, date: options.date, model.model, tokenizer) : nil
    guard chat != nil || options.system == nil else {
      throw ModelError(
        .usage, "a message of the system needs a chat template", file: model.path,
        expected: "a model with a chat template")
    }
    promptText = chat ?? text
    let ids = tokenizer.encode(promptText, adding: .none)
    let beginning: TextBeginning =
      chat != nil && options.beginning == .auto ? .no : options.beginning
    let begin = try tokenizer.beginID(beginning, file: model.path)
    // A template may write the token that begins texts.
    let isBegun = chat != nil && begin == ids.first
    prompt = (isBegun ? [] : begin.map { [$0] } ?? []) + ids
    guard !prompt.isEmpty else {
      throw ModelError(.usage, "the prompt is empty", expected: "a token to continue")
    }
  }

  /// Why a continuation ended.
  public enum End: String, Sendable {
    /// The model chose a token that ends texts or turns.
    case endOfText
    /// There are as many tokens as were asked for.
    case tokenLimit
    /// The caller asked to stop.
    case stopped
  }

  /// Continues the prompt.
  ///
  /// - Parameters:
  ///   - cancellation: May stop it.
  ///   - onBytes: Receives the bytes of each token; a character may be divided among several.
  /// - Returns: The tokens, and why there are no more.
  /// - Throws: `limit` if the machine does not have the memory for the text, `malformed` if numbers
  ///   overflow or are not numbers, `io` if a file changed meanwhile, and what reading weights throws.
  public func run(
    cancellation: Cancellation = Cancellation(), onBytes: ([UInt8]) -> Void
  ) throws(ModelError) -> (tokens: [Int32], end: End) {
    let (capacity, overflows) = prompt.count.addingReportingOverflow(options.tokenLimit)
    let context = try LanguageContext(
      of: model, capacity: overflows ? .max : capacity, threadCount: options.threadCount)
    var random = RandomNumbers(seed: options.seed)
    var tokens: [Int32] = []
    var next = prompt
    while tokens.count < options.tokenLimit {
      guard !cancellation.isRequested else { return (tokens, .stopped) }
      let token = choose(from: try context.append(next), &random)
      guard !model.endTokens.contains(token) else { return (tokens, .endOfText) }
      tokens.append(token)
      onBytes(try model.bytes(of: token))
      next = [token]
    }
    return (tokens, .tokenLimit)
  }

  /// The token with the largest logit, or one drawn from the softmax of logits / temperature.
  private func choose(from logits: Logits, _ random: inout RandomNumbers) -> Int32 {
    let allowed = logits.without(model.suppressedTokens)
    let best = allowed.mostProbableToken
    // So cold that products overflow, and that only the most probable token is left.
    guard options.temperature > 0, logits.isFinite(dividedBy: options.temperature) else {
      return best
    }
    let target = random.next()
    var sum = 0.0
    let weights = allowed.probabilities(row: 0, temperature: options.temperature)
    for (token, weight) in weights.enumerated() {
      sum += Double(weight)
      if sum > target { return Int32(token) }
    }
    return best
  }
}

/// Random numbers from 0 to 1, by SplitMix64 (Steele, Lea and Flood, 2014).
private struct RandomNumbers {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> Double {
    state &+= 0x9e37_79b9_7f4a_7c15
    var bits = state
    bits = (bits ^ bits >> 30) &* 0xbf58_476d_1ce4_e5b9
    bits = (bits ^ bits >> 27) &* 0x94d0_49bb_1331_11eb
    bits ^= bits >> 31
    return Double(bits >> 11) * 0x1p-53
  }
}
