internal import Network
internal import TensorModel
internal import Weights

/// A text that is cut into chunks of equal length, and how many are computed at once.
struct TextChunks: Sendable {
  /// The number of tokens of a chunk.
  let length: Int
  /// The number of chunks.
  let count: Int
  /// The number of chunks that are computed at once.
  let countPerPass: Int
  /// About the largest number of bytes that activations take.
  let activationByteCount: Int
  /// The token that replaces the first one of each chunk; nil for none.
  let beginID: Int32?
  private let tokens: [Int32]

  /// Reads a text and divides it for decoders that run side by side.
  ///
  /// Throws `usage` for a text that is shorter than a chunk, for chunks of less than two tokens and
  /// tokens that the model does not have, and what reading the text throws.
  init(
    _ text: EvaluationText, of model: Model, _ decoders: [Decoder], _ options: EvaluationOptions
  ) throws(ModelError) {
    let size = decoders[0].shape.vocabularySize
    let found = try EvaluationTokens(
      text, of: model, beginning: options.beginning, vocabularySize: size)
    let length = options.contextLength
    guard length >= 2 else {
      throw ModelError(
        .usage, "a context needs two tokens: one is predicted from the other",
        expected: "2 or more", found: "\(length)")
    }
    guard found.ids.count >= length else {
      throw ModelError(
        .usage, "the text is shorter than one context", expected: "at least \(length) tokens",
        found: "\(found.ids.count)", hint: "use a longer text, or a smaller --context")
    }
    count = min(found.ids.count / length, options.chunkLimit ?? .max)
    tokens = Array(found.ids.prefix(count * length))
    if let token = tokens.first(where: { !(0..<size).contains(Int($0)) }) {
      throw ModelError(
        .usage, "the text has a token that the model does not have",
        expected: "0 to \(size - 1)", found: "\(token)")
    }
    self.length = length
    beginID = found.beginID
    let perToken = decoders.map(\.activationByteCount).reduce(0, max)
    let fitting = options.memoryByteCount / (length * perToken)
    // More tokens at once than these do not make anything faster.
    let useful = max(1, 2048 / length)
    countPerPass = max(1, min(count, fitting, useful))
    activationByteCount = countPerPass * length * perToken
  }

  /// The chunks of each pass, in order.
  var passes: [Range<Int>] {
    stride(from: 0, to: count, by: countPerPass).map { $0..<min($0 + countPerPass, count) }
  }

  /// Some chunks as texts of their own.
  func batch(of chunks: Range<Int>) -> TokenBatch {
    var batch = TokenBatch()
    for chunk in chunks {
      var text = Array(tokens[chunk * length..<(chunk + 1) * length])
      if let beginID { text[0] = beginID }
      batch.append(text)
    }
    return batch
  }
}
