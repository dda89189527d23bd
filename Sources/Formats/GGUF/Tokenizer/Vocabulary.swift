internal import Bytes
internal import TensorModel

/// The tokens of a model by their ids, as GGUF lists them: one for each row of the embedding.
struct Vocabulary {
  /// What llama.cpp takes a token for, with its numbers.
  enum Kind: Int32 {
    case normal = 1
    case unknown = 2
    case control = 3
    /// Found in a text before anything else is.
    case userDefined = 4
    case unused = 5
    case byte = 6
  }

  /// A token.
  struct Token {
    var text: [UInt8]
    var score: Float
    var kind: Kind
  }

  /// The score of tokens that were added to a vocabulary of SentencePiece.
  static let addedScore: Float = -1000
  private static let paddingScore: Float = -10000

  private(set) var tokens: [Token]
  private var isSet: [Bool]

  /// A vocabulary of unused tokens.
  init(count: Int) {
    tokens = (0..<count).map {
      Token(text: Array("[PAD\($0)]".utf8), score: Self.paddingScore, kind: .unused)
    }
    isSet = Array(repeating: false, count: count)
  }

  /// Whether an id has a token that is not padding.
  func has(_ id: Int) -> Bool { isSet.indices.contains(id) && isSet[id] }

  /// Gives an id its token; the id must be one.
  mutating func set(_ id: Int, _ token: Token) {
    tokens[id] = token
    isSet[id] = true
  }

  /// Gives an id a token that was added to the vocabulary; the id must be one.
  ///
  /// llama.cpp looks for these in the text as it was written, where a space is a space.
  mutating func add(_ added: AddedToken) {
    let isControl = added.isSpecial || added.looksSpecial
    let text = isControl ? Array(added.text.utf8) : Array(added.text.utf8).withSpaces
    set(
      added.id, Token(text: text, score: Self.addedScore, kind: isControl ? .control : .userDefined)
    )
  }

  /// The texts of all tokens: their places are the ids.
  ///
  /// Throws `unsupported` when two tokens share a text, at which llama.cpp stops.
  func texts(file: String) throws(ModelError) -> TextIndex {
    var texts = TextIndex()
    for (id, token) in tokens.enumerated() {
      let (inserted, first) = texts.insert(token.text[...])
      guard inserted else {
        throw ModelError(
          .unsupported, "two tokens have the same text, which llama.cpp does not allow",
          file: file, tensor: String(decoding: token.text, as: UTF8.self),
          found: "ids \(first) and \(id)", hint: GGUFTokenizer.donorHint)
      }
    }
    return texts
  }

  /// Adds tokens, scores where asked, and types to metadata.
  func write(to metadata: inout Metadata, scores: Bool) {
    var texts: [UInt8] = []
    var numbers: [UInt8] = []
    var kinds: [UInt8] = []
    for token in tokens {
      GGUFMetadata.append(text: token.text, to: &texts)
      numbers.append(littleEndian: token.score.bitPattern)
      kinds.append(littleEndian: token.kind.rawValue)
    }
    func array(_ type: MetadataType, _ bytes: [UInt8]) -> MetadataValue {
      .array(MetadataArray(elementType: type, count: tokens.count, bytes: bytes))
    }
    metadata.append(GGUFTokenizer.tokensKey, array(.string, texts))
    if scores { metadata.append("tokenizer.ggml.scores", array(.f32, numbers)) }
    metadata.append("tokenizer.ggml.token_type", array(.i32, kinds))
  }
}

extension [UInt8] {
  /// The same text with spaces for the ▁ of SentencePiece.
  var withSpaces: [UInt8] { replacing("▁".utf8, with: " ".utf8) }

  /// Whether it is a byte of SentencePiece, as `<0x0A>`.
  var isByteToken: Bool {
    count == 6 && starts(with: "<0x".utf8) && self[5] == UInt8(ascii: ">")
      && self[3...4].allSatisfy { Character(UnicodeScalar($0)).isHexDigit }
  }
}
