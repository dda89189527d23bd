internal import Bytes
internal import Formats
internal import TensorModel

/// Makes text of tokens of WordPiece: a space comes before each, unless it continues a word.
struct WordPieceDecoder: Sendable {
  /// What begins the texts of tokens that continue a word; nil if none do.
  let continuation: [UInt8]?
  private let cleansUp: Bool
  /// What begins the texts of all other tokens, in llama.cpp.
  private let wordMark: [UInt8]?

  /// What `cleanup` replaces, in this order.
  private static let replacements = [
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"),
    (" 'm", "'m"), (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
  ].map { (Array($0.0.utf8), Array($0.1.utf8)) }

  /// Reads the `decoder` of a tokenizer.
  ///
  /// Without one there are spaces between all tokens. Throws `unsupported` for other decoders.
  init(_ fast: FastTokenizer) throws(ModelError) {
    if fast.llamaSteps != nil {
      (continuation, cleansUp, wordMark) = (nil, true, Array("▁".utf8))
      return
    }
    let decoder = fast.parts["decoder"] ?? .null
    wordMark = nil
    switch decoder["type"]?.string {
    case nil: (continuation, cleansUp) = (nil, false)
    case "WordPiece":
      continuation = Array((decoder["prefix"]?.string ?? "##").utf8)
      cleansUp = decoder["cleanup"]?.bool ?? true
    case let type?:
      throw ModelError(
        .unsupported, "Pleat does not know how this tokenizer joins words", file: fast.source,
        tensor: "decoder", expected: "WordPiece", found: type)
    }
  }

  /// Whether a token continues a word; added tokens do not if only words have a mark.
  func continuesWord(_ text: [UInt8], isAdded: Bool) -> Bool {
    if let wordMark { return !isAdded && !text.starts(with: wordMark) }
    return continuation.map { text.starts(with: $0) } ?? false
  }

  /// The text that a token stands for after another one.
  func bytes(of text: [UInt8], isAdded: Bool) -> [UInt8] {
    let isPart = continuesWord(text, isAdded: isAdded)
    let mark = isPart ? continuation ?? [] : isAdded ? [] : wordMark ?? []
    let word = text.dropFirst(text.starts(with: mark) ? mark.count : 0)
    let bytes = (isPart ? [] : [UInt8(ascii: " ")]) + word
    guard cleansUp, Self.mayChange(bytes) else { return bytes }
    return Self.replacements.reduce(bytes) { TextNormalizer.replaced($0, $1.0, $1.1) }
  }

  /// Whether a space and the letter after it occur in what is replaced, which is rare.
  private static func mayChange(_ bytes: [UInt8]) -> Bool {
    zip(bytes, bytes.dropFirst()).contains { pair in
      pair.0 == UInt8(ascii: " ") && replacements.contains { $0.0[1] == pair.1 }
    }
  }
}
