internal import Bytes
internal import Network
public import TensorModel

/// A text that a model reads, token by token or many at once.
///
/// It keeps the keys and values of its tokens, so that only new ones are computed. No bit of a logit
/// depends on how the text was divided, or on the number of threads. Contexts are independent of each
/// other: threads may use different ones of the same model at once.
public final class LanguageContext {
  /// The model.
  public let model: LanguageModel
  /// The number of tokens of the text so far.
  public var tokenCount: Int { tokens.count }
  /// The number of tokens that the text may have.
  public var capacity: Int { cache.capacity }

  private let cache: KeyValueCache
  /// The text, of which the cache has fewer tokens after some were removed; the next pass reads them.
  private var tokens: [Int32] = []
  private let workers: Workers
  /// How many passes read weights that are compared with checksums: the first one, and the one that
  /// packs them.
  private var passesToCheck = 2

  /// Creates an empty text.
  ///
  /// - Parameters:
  ///   - model: The model that reads it.
  ///   - capacity: The number of tokens that it may have. Memory for their keys and values is
  ///     reserved at once: `byteCount(of:capacity:)`.
  ///   - threadCount: The number of threads that compute; nil for one per processor.
  /// - Throws: `usage` for a capacity or a number of threads below 1, and `limit` if the machine does
  ///   not have that much memory.
  public init(
    of model: LanguageModel, capacity: Int, threadCount: Int? = nil
  ) throws(ModelError) {
    guard capacity >= 1 else {
      throw ModelError(
        .usage, "a context needs room for a token", file: model.path, expected: "1 or more tokens",
        found: "\(capacity)")
    }
    if let threadCount, threadCount < 1 {
      throw ModelError(
        .usage, "computing needs a thread", expected: "1 or more", found: "\(threadCount)")
    }
    let most = Self.capacity(of: model, byteCount: Platform.memoryByteCount)
    guard capacity <= most else {
      throw ModelError(
        .limit, "the keys and values of so many tokens do not fit into memory", file: model.path,
        expected: "at most \(most) tokens", found: "\(capacity)")
    }
    self.model = model
    cache = KeyValueCache(model.decoder.shape, capacity: capacity)
    workers = Workers(count: threadCount ?? Platform.processorCount)
  }

  /// The number of bytes that the keys and values of a context take, and the states of models that
  /// have some.
  ///
  /// `capacity` is one that the machine has memory for.
  public static func byteCount(of model: LanguageModel, capacity: Int) -> Int {
    KeyValueCache.stateByteCount(model.decoder.shape) + capacity * tokenByteCount(of: model)
  }

  /// The largest capacity of contexts that fit into so many bytes.
  private static func capacity(of model: LanguageModel, byteCount: Int) -> Int {
    let states = KeyValueCache.stateByteCount(model.decoder.shape)
    return max(0, byteCount - states) / tokenByteCount(of: model)
  }

  /// The number of bytes that a token takes, with its number.
  private static func tokenByteCount(of model: LanguageModel) -> Int {
    MemoryLayout<Int32>.stride + KeyValueCache.byteCountPerToken(model.decoder.shape)
  }

  /// Adds tokens to the text.
  ///
  /// - Parameters:
  ///   - tokens: The tokens, at least one.
  ///   - rowCount: The number of tokens, from the last one backwards, whose logits are computed. A
  ///     logit says how probable a token is as the next one.
  /// - Returns: The logits, of `rowCount` tokens in the order of the text.
  /// - Throws: `usage` for no tokens, tokens that the model does not have, more tokens than there is
  ///   room for and more rows than tokens; `unsupported` for a text that is too long for its rotary
  ///   embeddings; `malformed` if numbers overflow or are not numbers, or weights have other
  ///   checksums than the file states; `io` if a file has been written since it was opened; and what
  ///   reading weights throws. The text is then as it was.
  public func append(
    _ tokens: [Int32], logitsOfLast rowCount: Int = 1
  ) throws(ModelError) -> Logits {
    let before = cache.count
    do throws(ModelError) {
      guard !tokens.isEmpty else {
        throw ModelError(.usage, "there is no token to add", expected: "at least one")
      }
      guard (0...tokens.count).contains(rowCount) else {
        throw ModelError(
          .usage, "logits are those of the tokens that are added",
          expected: "0 to \(tokens.count) rows", found: "\(rowCount)")
      }
      try checkRoom(for: tokens.count)
      var batch = TokenBatch()
      let missing = self.tokens[before...] + tokens
      batch.append(missing, firstPosition: before)
      let hidden = try model.decoder.hidden(batch, cache: cache, by: workers)
      var logits = Logits(rowCount: 0, vocabularySize: model.vocabularySize)
      if rowCount > 0 {
        let rows = missing.count - rowCount..<missing.count
        logits = Logits(try model.decoder.logits(of: hidden, rows: rows, by: workers))
        try check()
        guard logits.isFinite() else { throw model.model.overflow }
      }
      self.tokens += tokens
      return logits
    } catch {
      cache.truncate(to: before)
      throw error.located(file: model.path)
    }
  }

  /// Throws `malformed` if weights that were read have other checksums than the file states, and `io`
  /// if a file has been written.
  private func check() throws(ModelError) {
    guard passesToCheck > 0 else { return try model.model.checkUnchanged() }
    passesToCheck -= 1
    try model.model.checkRead()
  }

  /// Throws `usage` unless there is room for so many more tokens.
  package func checkRoom(for count: Int) throws(ModelError) {
    guard count <= capacity - tokenCount else {
      throw ModelError(
        .usage, "the text is longer than the context", file: model.path,
        expected: "at most \(capacity - tokenCount) more tokens", found: "\(count)")
    }
  }

  /// Removes all tokens after the first `count`, which may be followed by others then.
  ///
  /// A model with states has those of the text before the tokens that were added last. Of a shorter
  /// text it computes them again, with the next tokens.
  ///
  /// Throws `usage` if the text has fewer tokens.
  public func truncate(to count: Int) throws(ModelError) {
    guard (0...tokenCount).contains(count) else {
      throw ModelError(
        .usage, "a text can only be cut at one of its tokens", expected: "0 to \(tokenCount)",
        found: "\(count)")
    }
    tokens.removeLast(tokenCount - count)
    cache.truncate(to: min(count, cache.count))
  }
}
