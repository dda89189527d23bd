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
  /// The tokens of all chunks, as the text has them.
  let tokens: [Int32]
  /// Notes for the user.
  let notes: [String]

  /// Reads a text and divides it for decoders that run side by side.
  ///
  /// Each text is divided by itself. A file of log probabilities has tokens, too: the text is that of
  /// the file, or begins with it. Throws `usage` for a text that is shorter than a chunk, for chunks
  /// of less than two tokens and tokens that the model does not have, `mismatch` for another text than
  /// that of the file or another context, and what reading the text throws.
  init(
    _ texts: [EvaluationText], of model: Model, _ decoders: [Decoder],
    _ options: EvaluationOptions, logits: LogitsFile? = nil
  ) throws(ModelError) {
    let size = decoders[0].shape.vocabularySize
    let texts = texts.isEmpty ? logits.map { [.ids($0.tokens)] } ?? [] : texts
    guard !texts.isEmpty else {
      throw ModelError(.usage, "there is no text", expected: "--text or --tokens")
    }
    let length = options.contextLength ?? logits?.contextLength ?? Self.usualLength
    guard length >= 2 else {
      throw ModelError(
        .usage, "a context needs two tokens: one is predicted from the other",
        expected: "2 or more", found: "\(length)")
    }
    var all: [Int32] = []
    var beginID: Int32?
    for text in texts {
      let found = try EvaluationTokens(
        text, of: model, beginning: options.beginning, vocabularySize: size)
      guard found.ids.count >= length else {
        throw ModelError(
          .usage, "the text is shorter than one context", file: texts.count > 1 ? text.path : nil,
          expected: "at least \(length) tokens", found: "\(found.ids.count)",
          hint: "use a longer text, or a smaller --context")
      }
      all += found.ids.prefix(found.ids.count / length * length)
      beginID = found.beginID
    }
    count = min(all.count / length, options.chunkLimit ?? .max, logits?.chunkCount ?? .max)
    tokens = Array(all.prefix(count * length))
    if let logits { try Self.check(tokens, length: length, logits) }
    if let token = tokens.first(where: { !(0..<size).contains(Int($0)) }) {
      throw ModelError(
        .usage, "the text has a token that the model does not have",
        expected: "0 to \(size - 1)", found: "\(token)")
    }
    self.length = length
    self.beginID = beginID
    let trainedLength = decoders.map(\.shape.contextLength).reduce(length, min)
    notes =
      trainedLength < length
      ? ["the chunks are longer than the \(trainedLength) tokens that the model was trained for"]
      : []
    let perToken = decoders.map(\.activationByteCount).reduce(0, max)
    let fitting = options.memoryByteCount / (length * perToken)
    // More tokens at once than these do not make anything faster.
    let useful = max(1, 2048 / length)
    countPerPass = max(1, min(count, fitting, useful))
    activationByteCount = countPerPass * length * perToken
  }

  /// The number of tokens of a chunk, if nothing else is asked for.
  static let usualLength = 512

  /// Throws `mismatch` for another text or context than those of a file.
  private static func check(
    _ tokens: [Int32], length: Int, _ logits: LogitsFile
  ) throws(ModelError) {
    guard length == logits.contextLength else {
      throw ModelError(
        .mismatch, "the file of log probabilities has chunks of another length", file: logits.path,
        expected: "--context \(logits.contextLength)", found: "--context \(length)")
    }
    guard let index = zip(tokens, logits.tokens).enumerated().first(where: { $1.0 != $1.1 })?.offset
    else { return }
    throw ModelError(
      .mismatch, "the file of log probabilities is that of another text", file: logits.path,
      expected: "token \(logits.tokens[index]) at position \(index)", found: "\(tokens[index])",
      hint: "leave --text or --tokens out: the file has the tokens of its text")
  }

  /// The chunks of each pass over some chunks, in order; nil for all chunks.
  func passes(over chunks: Range<Int>? = nil) -> [Range<Int>] {
    let chunks = chunks ?? 0..<count
    return stride(from: chunks.lowerBound, to: chunks.upperBound, by: countPerPass).map {
      $0..<min($0 + countPerPass, chunks.upperBound)
    }
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
