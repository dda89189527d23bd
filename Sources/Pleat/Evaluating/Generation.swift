internal import Bytes
internal import Kernels
internal import Network
public import TensorModel
internal import Tokens
public import Weights

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
    public var beginning = TokenizedText.Beginning.auto
    /// Whether the prompt is a message of the user, written as the model's chat template says.
    ///
    /// A model without a template continues the prompt as it is.
    public var usesTemplate = true
    /// A message of the system before the prompt, for the chat template.
    public var system: String?
    /// The number of threads.
    public var threadCount = Evaluation.defaultThreadCount
    /// How many bytes of weights may stay in memory; others are read again for each token.
    public var memoryByteCount = Generation.defaultMemoryByteCount

    /// The usual options.
    public init() {}
  }

  /// Half of the memory of the machine, or of what a control group permits.
  public static let defaultMemoryByteCount = Platform.memoryByteCount / 2

  /// The text of the prompt, as the chat template of the model writes it.
  public let promptText: String
  /// The tokens of the prompt.
  public let prompt: [Int32]
  /// Notes for the user about what is not computed.
  public var notes: [String] { decoder.notes }
  private let endIDs: Set<Int32>
  private let decoder: Decoder
  private let tokenizer: Tokenizer
  private let options: Options

  /// Prepares the continuation of a prompt.
  ///
  /// Reads headers, configs, vectors and the tokenizer. Throws `unsupported` for models, tokenizers
  /// and chat templates that Pleat does not run, `usage` for an empty prompt, and for messages that
  /// the template refuses or that have no template, and what reading throws.
  public init(of model: Model, _ text: String, _ options: Options) throws(ModelError) {
    decoder = try Decoder(model)
    tokenizer = try Tokenizer(of: model)
    self.options = options
    endIDs = try ChatPrompt.endIDs(of: model, tokenizer)
    let chat =
      options.usesTemplate
      ? try ChatPrompt.text(text, system: options.system, model, tokenizer) : nil
    guard chat != nil || options.system == nil else {
      throw ModelError(
        .usage, "a message of the system needs a chat template", file: model.path,
        expected: "a model with a chat template")
    }
    promptText = chat ?? text
    let ids = tokenizer.encode(promptText, adding: .none)
    let beginning: TokenizedText.Beginning =
      chat != nil && options.beginning == .auto ? .no : options.beginning
    let begin = try EvaluationTokens.beginID(tokenizer, beginning, model)
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
  /// - Throws: What reading weights throws.
  public func run(
    cancellation: Cancellation = Cancellation(), onBytes: ([UInt8]) -> Void
  ) throws(ModelError) -> (tokens: [Int32], end: End) {
    let workers = Workers(count: options.threadCount)
    var decoder = decoder
    decoder.kept = KeptWeights(byteLimit: options.memoryByteCount)
    let cache = KeyValueCache(
      decoder.shape, capacity: prompt.count + options.tokenLimit)
    var random = RandomNumbers(seed: options.seed)
    var tokens: [Int32] = []
    var next = prompt
    while tokens.count < options.tokenLimit {
      guard !cancellation.isRequested else { return (tokens, .stopped) }
      var batch = TokenBatch()
      batch.append(next, firstPosition: cache.count)
      let hidden = try decoder.hidden(batch, cache: cache, by: workers)
      let last = hidden.rowCount - 1
      let logits = try decoder.logits(of: hidden, rows: last..<last + 1, by: workers)
      let token = Int32(choose(from: logits, &random))
      guard !endIDs.contains(token) else { return (tokens, .endOfText) }
      tokens.append(token)
      onBytes(tokenizer.bytes(of: token))
      next = [token]
    }
    return (tokens, .tokenLimit)
  }

  /// The token with the largest logit, or one drawn from the softmax of logits / temperature.
  private func choose(from logits: FloatMatrix, _ random: inout RandomNumbers) -> Int {
    guard options.temperature > 0 else { return logits.largestColumn(row: 0) }
    let columns = 0..<logits.columnCount
    logits.softmax(row: 0, columns: columns, scale: Float(1 / options.temperature))
    let target = random.next()
    var sum = 0.0
    let weights = logits.row(0)
    for (token, weight) in weights.enumerated() {
      sum += Double(weight)
      if sum > target { return token }
    }
    return logits.largestColumn(row: 0)
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
