internal import Bytes
internal import TensorModel

/// The tokens of a model by id, as GGUF lists them: one for each row of the embedding.
struct Vocabulary {
  /// llama.cpp's kinds of tokens, with their numbers.
  enum Kind: Int32 {
    case normal = 1
    case unknown = 2
    case control = 3
    /// A token that is found in a text before the text is split.
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

  /// The score of tokens that are added to a SentencePiece vocabulary.
  static let addedScore: Float = -1000
  private static let paddingScore: Float = -10000

  private(set) var tokens: [Token]
  private var isSet: [Bool]

  /// Creates a vocabulary of unused tokens, whose texts begin with a mark.
  init(count: Int, mark: String = "") {
    tokens = (0..<count).map {
      Token(text: Array("\(mark)[PAD\($0)]".utf8), score: Self.paddingScore, kind: .unused)
    }
    isSet = Array(repeating: false, count: count)
  }

  /// Whether an id has a token that is not padding.
  func has(_ id: Int) -> Bool { isSet.indices.contains(id) && isSet[id] }

  /// Sets the token of an id, which must be the number of a row.
  mutating func set(_ id: Int, _ token: Token) {
    tokens[id] = token
    isSet[id] = true
  }

  /// Changes the kind of the token of an id, which must be the number of a row.
  mutating func setKind(_ kind: Kind, of id: Int) { tokens[id].kind = kind }

  /// Changes the score of the token of an id; nothing changes for an id beyond the rows.
  mutating func setScore(_ score: Float, of id: Int) {
    if tokens.indices.contains(id) { tokens[id].score = score }
  }

  /// The same tokens, whose scores are zero.
  var withoutScores: Vocabulary {
    var copy = self
    for id in tokens.indices { copy.tokens[id].score = 0 }
    return copy
  }

  /// Sets the token of the id of an added token, which must be the number of a row.
  ///
  /// llama.cpp looks for added tokens in the original text. So the ▁ of user-defined tokens becomes a
  /// space.
  mutating func add(_ added: AddedToken) {
    let isControl = added.isSpecial || added.looksSpecial
    let text = isControl ? Array(added.text.utf8) : Array(added.text.utf8).withSpaces
    set(
      added.id, Token(text: text, score: Self.addedScore, kind: isControl ? .control : .userDefined)
    )
  }

  /// The texts of all tokens, by id.
  ///
  /// Throws `unsupported` if two tokens have the same text, at which llama.cpp stops.
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

  /// Adds the tokens, their types and, if `scores` is true, their scores to metadata.
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
  /// The text with a space for each ▁ of SentencePiece.
  var withSpaces: [UInt8] { replacing("▁".utf8, with: " ".utf8) }

  /// Whether the text is a byte token of SentencePiece, such as `<0x0A>`.
  var isByteToken: Bool {
    count == 6 && starts(with: "<0x".utf8) && self[5] == UInt8(ascii: ">")
      && self[3...4].allSatisfy { Character(UnicodeScalar($0)).isHexDigit }
  }
}
