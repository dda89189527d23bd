internal import Bytes
internal import TensorModel

/// The vocabulary of a tokenizer, as the metadata of a GGUF file list it.
struct ListedVocabulary {
  /// The texts of the tokens; the index of a text is its id.
  private(set) var texts: [String]
  /// The kinds of the tokens, by id.
  private(set) var kinds: [Vocabulary.Kind] = []
  /// The scores of the tokens, by id; empty if they were not asked for.
  private(set) var scores: [Float] = []
  private var index = TextIndex()

  private static let kindsKey = "tokenizer.ggml.token_type"
  private static let scoresKey = "tokenizer.ggml.scores"

  /// Reads the tokens, their kinds and, if `scores` is true, their scores.
  ///
  /// Throws `malformed` if a list is missing, contradicts another one, or has invalid elements.
  init(_ metadata: Metadata, scores needsScores: Bool) throws(ModelError) {
    let key = GGUFTokenizer.tokensKey
    texts = try Self.list(metadata, key, .string).texts
    guard !texts.isEmpty else {
      throw ModelError(.malformed, "the vocabulary is empty", tensor: key)
    }
    for (id, number) in try Self.numbers(metadata, Self.kindsKey, .i32, texts.count).enumerated() {
      guard let kind = Vocabulary.Kind(rawValue: Int32(bitPattern: number)) else {
        throw ModelError(
          .malformed, "token \(id) has an unknown type", tensor: Self.kindsKey, expected: "1…6",
          found: "\(Int32(bitPattern: number))")
      }
      kinds.append(kind)
    }
    if needsScores {
      let numbers = try Self.numbers(metadata, Self.scoresKey, .f32, texts.count)
      scores = numbers.map { Float(bitPattern: $0) }
      if let id = scores.firstIndex(where: { !$0.isFinite }) {
        throw ModelError(
          .malformed, "token \(id) has a score that is not finite", tensor: Self.scoresKey,
          found: "\(scores[id])")
      }
    }
    try makeIndex()
  }

  private mutating func makeIndex() throws(ModelError) {
    for id in texts.indices {
      // llama.cpp also gives tokens without a text another one, which no text contains.
      if texts[id].isEmpty { (texts[id], kinds[id]) = (Self.padding(id), .unused) }
      let (inserted, first) = index.insert(Array(texts[id].utf8)[...])
      guard inserted else {
        throw ModelError(
          .malformed, "two tokens have the same text", tensor: GGUFTokenizer.tokensKey,
          found: "'\(texts[id])', ids \(first) and \(id)")
      }
    }
  }

  /// Whether the token of an id exists, and does not only pad the vocabulary to the rows of the
  /// embedding.
  func has(_ id: Int) -> Bool {
    texts.indices.contains(id) && (kinds[id] != .unused || !Self.paddings(id).contains(texts[id]))
  }

  /// The id of the token with a text; nil if there is none.
  func id(of text: ArraySlice<UInt8>) -> Int? {
    guard let id = index.index(of: text), has(id) else { return nil }
    return id
  }

  /// The bytes of the text of a token.
  func bytes(_ id: Int) -> ArraySlice<UInt8> { index[id] }

  /// The score of a token in a model of unigrams, where tokens that are found as written have zero.
  func score(_ id: Int) -> Float { kinds[id] == .userDefined ? 0 : scores[id] }

  /// The tokens that are found in a text before it is split, as in a tokenizer.json.
  var addedTokens: [JSONValue] {
    kinds.indices.compactMap { id in
      guard [.unknown, .control, .userDefined].contains(kinds[id]) else { return nil }
      return [
        "id": JSONValue(id), "content": .string(texts[id]), "single_word": false,
        "lstrip": false, "rstrip": false, "normalized": false,
        "special": .bool(kinds[id] != .userDefined),
      ]
    }
  }

  private static func padding(_ id: Int) -> String { "[PAD\(id)]" }

  /// The texts of a token that only pads the vocabulary, also as the beginning of a word.
  private static func paddings(_ id: Int) -> [String] {
    [padding(id), WordPieceTokenizer.start + padding(id)]
  }

  /// The same tokens with the texts that a function makes of those that exist.
  ///
  /// Throws `malformed` if two tokens have the same text then.
  func mapping(_ text: (String, Vocabulary.Kind) -> String) throws(ModelError) -> ListedVocabulary {
    var copy = self
    copy.index = TextIndex()
    for id in texts.indices where has(id) { copy.texts[id] = text(texts[id], kinds[id]) }
    try copy.makeIndex()
    return copy
  }

  private static func list(
    _ metadata: Metadata, _ key: String, _ type: MetadataType
  ) throws(ModelError) -> MetadataArray {
    guard case .array(let list)? = metadata[key], list.elementType == type else {
      throw ModelError(
        .malformed, "the tokenizer lacks a list", tensor: key, expected: "an array of \(type)",
        found: metadata[key] == nil ? "nothing" : "another type")
    }
    return list
  }

  /// The bits of the elements of a list of 32-bit numbers, of which there must be `count`.
  private static func numbers(
    _ metadata: Metadata, _ key: String, _ type: MetadataType, _ count: Int
  ) throws(ModelError) -> [UInt32] {
    let list = try list(metadata, key, type)
    guard list.count == count, list.bytes.count == 4 * count else {
      throw ModelError(
        .malformed, "the list has another length than that of the tokens", tensor: key,
        expected: "\(count)", found: "\(list.count)")
    }
    return (0..<count).map { index in
      list.bytes[4 * index..<4 * index + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
  }
}
