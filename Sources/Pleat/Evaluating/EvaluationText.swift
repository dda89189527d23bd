internal import Inference
internal import SystemPackage
internal import TensorModel
internal import Tokens
internal import Weights

/// A text to evaluate.
public enum EvaluationText: Sendable {
  /// A file in UTF-8, for the tokenizer of the model.
  ///
  /// As in llama-perplexity, a newline at its end is dropped, and special tokens that are written in
  /// it are plain text.
  case text(path: String)
  /// A file of tokens: numbers of 16 or 32 bits, an array of NumPy, or JSON lines.
  case tokens(path: String)
  /// Tokens.
  case ids([Int32])

  /// The path of the file; nil for tokens.
  var path: String? {
    switch self {
    case .text(let path), .tokens(let path): path
    case .ids: nil
    }
  }
}

/// The tokens of a text, and what replaces the first one of each chunk.
struct EvaluationTokens {
  let ids: [Int32]
  let beginID: Int32?

  /// Reads a text.
  ///
  /// Throws `unsupported` without a tokenizer that Pleat knows, `usage` if it has no token that
  /// begins texts, `malformed` for a text that is not UTF-8, and what reading throws.
  init(
    _ text: EvaluationText, of model: Model, beginning: TextBeginning, vocabularySize: Int
  ) throws(ModelError) {
    let tokenizer = try Self.tokenizer(text, of: model, beginning)
    beginID = try tokenizer?.beginID(beginning, file: model.path)
    switch text {
    case .ids(let ids): self.ids = ids
    case .tokens(let path):
      let lists = try TokenFile.read(FilePath(path), vocabularySize: vocabularySize)
      ids = Array(lists.joined())
    case .text(let path):
      var bytes = try TokenizedText.bytes(ofText: path)
      if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
      let found = tokenizer?.encode(bytes, adding: .none, findingSpecialTokens: false) ?? []
      ids = (beginID.map { [$0] } ?? []) + found
    }
  }

  /// The tokenizer; nil if none is needed.
  private static func tokenizer(
    _ text: EvaluationText, of model: Model, _ beginning: TextBeginning
  ) throws(ModelError) -> Tokenizer? {
    if case .text = text { return try Tokenizer(of: model) }
    switch beginning {
    case .no: return nil
    case .yes: return try Tokenizer(of: model)
    // Tokens need no tokenizer, so a model may lack one.
    case .auto:
      do throws(ModelError) { return try Tokenizer(of: model) } catch
        where error.kind == .unsupported
      { return nil }
    }
  }
}
