internal import Bytes
internal import TensorModel

/// What llama.cpp does to a text before it makes tokens of words, for models that embed texts.
///
/// No tokenizer.json has these steps exactly.
package enum LlamaSteps: Sendable {
  /// The steps before WordPiece: `bert`.
  case words(lowercases: Bool, stripsAccents: Bool)
  /// The steps before unigrams: `t5`.
  case pieces(LlamaPieces)
}

/// The steps of llama.cpp before unigrams.
package struct LlamaPieces: Sendable {
  /// How characters are normalized; nil if they are not.
  package let characterMap: CharacterMap?
  /// Whether ▁ comes before a text.
  package let addsSpace: Bool
  /// Whether one ▁ comes before each word, however many spaces there are.
  package let mergesSpaces: Bool
  /// The score of a letter that is no token.
  package let unknownScore: Double
}

/// The tokenizer of a model that embeds texts, as llama.cpp applies it.
struct LlamaEncoder {
  /// The vocabulary, the steps, and the tokens around a text.
  let fast: FastTokenizer
  /// The special tokens.
  let special: ListedTokens

  private static let modelKey = "tokenizer.ggml.model"
  // llama.cpp subtracts this from the lowest score, as 32-bit numbers.
  private static let unknownPenalty: Float = 10

  /// Reads the metadata of a GGUF file; nil for tokenizers of other kinds than `bert` and `t5`.
  ///
  /// Throws `malformed` for lists that are missing or contradict each other, for ids outside the
  /// vocabulary, and if a special token is missing.
  init?(_ metadata: Metadata) throws(ModelError) {
    switch metadata[Self.modelKey]?.text {
    case "bert": self = try Self.words(metadata)
    case "t5": self = try Self.pieces(metadata)
    default: return nil
    }
  }

  private init(_ fast: FastTokenizer, _ special: ListedTokens) {
    (self.fast, self.special) = (fast, special)
  }

  private static func words(_ metadata: Metadata) throws(ModelError) -> LlamaEncoder {
    let vocabulary = try ListedVocabulary(metadata, scores: false)
    var special = try ListedTokens(
      metadata, vocabulary, addsStart: true, addsEnd: true,
      defaults: WordPieceTokenizer.assumedIDs)
    try special.surround("bos", "sep", hint: "pleat metadata --set KEY=ID states them")
    let unknown = try id(of: "unk", special)
    let lowercases = try metadata.flag("tokenizer.ggml.normalizer.lowercase") ?? true
    let stripsAccents = try metadata.flag("tokenizer.ggml.normalizer.strip_accents")
    let fast = try FastTokenizer(
      algorithm: "WordPiece", vocabulary, ids: Array(vocabulary.texts.indices),
      steps: .words(lowercases: lowercases, stripsAccents: stripsAccents ?? lowercases),
      model: ["unk_token": .string(vocabulary.texts[unknown])],
      parts: ["post_processor": special.template ?? .null])
    return LlamaEncoder(fast, special)
  }

  private static func pieces(_ metadata: Metadata) throws(ModelError) -> LlamaEncoder {
    let vocabulary = try ListedVocabulary(metadata, scores: true)
    let special = try ListedTokens(
      metadata, vocabulary, addsStart: false, addsEnd: true,
      defaults: ["eos": 1, "unk": 2, "pad": 0])
    let unknown = try id(of: "unk", special)
    let lowest = vocabulary.texts.indices.lazy.filter { vocabulary.kinds[$0] == .normal }
      .map(vocabulary.score).min()
    let found = vocabulary.texts.indices.filter {
      [.normal, .userDefined, .unused].contains(vocabulary.kinds[$0]) && $0 != unknown
    }
    let steps = LlamaPieces(
      characterMap: try CharacterMap.stated(in: metadata),
      addsSpace: try metadata.flag("tokenizer.ggml.add_space_prefix") ?? false,
      mergesSpaces: try metadata.flag("tokenizer.ggml.remove_extra_whitespaces") ?? false,
      unknownScore: Double((lowest ?? 0) - unknownPenalty))
    let adds = steps.addsSpace || steps.mergesSpaces
    let fast = try FastTokenizer(
      algorithm: "Unigram", vocabulary, ids: found + [unknown], steps: .pieces(steps),
      model: ["unk_id": JSONValue(found.count)],
      parts: [
        "post_processor": special.template ?? .null,
        "decoder": ["type": "Metaspace", "prepend_scheme": adds ? "always" : "never"],
      ])
    return LlamaEncoder(fast, special)
  }

  private static func id(of kind: String, _ special: ListedTokens) throws(ModelError) -> Int {
    guard let id = special.ids[kind] else {
      throw ModelError(
        .malformed, "the file does not say which token is the \(kind) token",
        tensor: SpecialTokens.key(of: kind),
        hint: "pleat metadata --set \(SpecialTokens.key(of: kind) ?? kind)=ID states it")
    }
    return id
  }
}
