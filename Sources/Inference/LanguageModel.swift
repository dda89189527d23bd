public import Bytes
internal import Formats
package import Network
public import TensorModel
package import Tokens
public import Weights

/// A language model that can be run: its weights and its tokenizer.
///
/// Weights are read from the files when they are used, in any format and encoding that Pleat decodes.
/// As many as a limit permits stay in memory for products with one token, and all contexts share them.
/// The files are closed when neither the model nor a context of it is left. Threads may share a model.
public struct LanguageModel: Sendable {
  /// The path that the user gave.
  public let path: String
  /// The tokens that end a text or a turn, as the model and its tokenizer state them.
  public let endTokens: Set<Int32>
  /// The tokens that a continuation never has, as `suppress_tokens` of the model states them.
  public let suppressedTokens: Set<Int32>
  /// The number of tokens that have a logit: their ids are below it.
  public var vocabularySize: Int { decoder.shape.vocabularySize }
  /// The number of positions that the model was trained for.
  public var trainedLength: Int { decoder.shape.contextLength }
  /// Notes for the user about what is not computed.
  public var notes: [String] { decoder.notes }

  package let decoder: Decoder
  let model: Model
  private let foundTokenizer: Result<Tokenizer, ModelError>

  /// Half of the memory of the machine, or of what a control group permits.
  public static let defaultMemoryByteCount = Platform.memoryByteCount / 2

  /// Opens a model that `Model.open` finds at a path.
  ///
  /// Parameters and errors are those of `Model.open` and `init(_:memoryByteCount:)`.
  public static func open(
    _ path: String, limits: ReadLimits = ReadLimits(),
    memoryByteCount: Int = defaultMemoryByteCount
  ) throws(ModelError) -> LanguageModel {
    try LanguageModel(Model.open(path, limits: limits), memoryByteCount: memoryByteCount)
  }

  /// Finds what an opened model needs to be run.
  ///
  /// Reads headers, configs, vectors and the tokenizer, but no matrix. A model without a tokenizer that
  /// Pleat knows runs, but texts need one.
  ///
  /// - Parameters:
  ///   - model: The model.
  ///   - memoryByteCount: How many bytes of weights may stay in memory; others are read again for each
  ///     token. It changes no result.
  /// - Throws: `unsupported` for models that Pleat does not run, `malformed` for one that contradicts
  ///   its config, and what reading throws.
  public init(
    _ model: Model, memoryByteCount: Int = defaultMemoryByteCount
  ) throws(ModelError) {
    self.model = model
    path = model.path
    var decoder = try Decoder(model)
    decoder.kept = KeptWeights(byteLimit: memoryByteCount)
    self.decoder = decoder
    do throws(ModelError) {
      foundTokenizer = .success(try Tokenizer(of: model))
    } catch {
      guard error.kind == .unsupported else { throw error }
      foundTokenizer = .failure(error)
    }
    endTokens = try ChatPrompt.endIDs(of: model, try? foundTokenizer.get())
    suppressedTokens = try ChatPrompt.suppressedIDs(of: model)
  }

  /// The tokenizer.
  ///
  /// Throws `unsupported` if there is none that Pleat knows.
  package var tokenizer: Tokenizer {
    get throws(ModelError) { try foundTokenizer.get() }
  }

  /// The tokens of a text.
  ///
  /// - Parameters:
  ///   - text: The text; special tokens that are written in it count as such.
  ///   - beginning: Whether the token that begins texts comes first. With `auto` it does if the
  ///     tokenizer adds it. Nothing is added after the text.
  /// - Returns: The ids of the tokens.
  /// - Throws: `unsupported` without a tokenizer that Pleat knows, and `usage` if no file says which
  ///   token begins texts, but the caller asks for one.
  public func tokenize(
    _ text: String, beginning: TextBeginning = .auto
  ) throws(ModelError) -> [Int32] {
    try tokenize(Array(text.utf8), beginning: beginning)
  }

  /// The tokens of a text in UTF-8; bytes that are not UTF-8 count as U+FFFD.
  ///
  /// Otherwise like `tokenize(_:beginning:)` of a string.
  public func tokenize(
    _ text: [UInt8], beginning: TextBeginning = .auto
  ) throws(ModelError) -> [Int32] {
    let tokenizer = try tokenizer
    let begin = try tokenizer.beginID(beginning, file: path)
    return (begin.map { [$0] } ?? []) + tokenizer.encode(text, adding: .none)
  }

  /// The bytes of the text of a token in UTF-8, which may be a part of a character.
  ///
  /// None for a token of the vocabulary that stands for no text. Throws `usage` for a token that the
  /// model does not have, and `unsupported` without a tokenizer that Pleat knows.
  public func bytes(of token: Int32) throws(ModelError) -> [UInt8] {
    let tokenizer = try tokenizer
    let count = max(vocabularySize, tokenizer.vocabularySize)
    guard (0..<count).contains(Int(token)) else {
      throw ModelError(
        .usage, "the model does not have such a token", file: path,
        expected: "0 to \(count - 1)", found: "\(token)")
    }
    return tokenizer.bytes(of: token)
  }

  /// The text of a token; bytes that are only a part of a character are U+FFFD.
  ///
  /// Throws what `bytes(of:)` throws.
  public func text(of token: Int32) throws(ModelError) -> String {
    String(decoding: try bytes(of: token), as: UTF8.self)
  }
}
