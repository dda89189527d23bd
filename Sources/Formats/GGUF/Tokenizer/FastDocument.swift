internal import Bytes
internal import TensorModel

/// The parts of a tokenizer.json.
struct FastDocument {
  var vocabulary: ListedVocabulary
  var model: Model
  var normalizer: JSONValue = .null
  var preTokenizer: JSONValue = .null
  var postProcessor: JSONValue
  var decoder: JSONValue
  /// The id of the token for characters or words outside the vocabulary.
  var unknown: Int?

  /// How words become tokens.
  enum Model {
    case merges(MergePairs, fallsBackToBytes: Bool = false, ignoresMerges: Bool = false)
    case wordPieces
    case unigrams
  }

  /// The contents of the file.
  var bytes: [UInt8] {
    var writer = JSONWriter()
    let members: [(String, JSONValue)] = [
      ("version", "1.0"), ("truncation", .null), ("padding", .null), ("added_tokens", addedTokens),
      ("normalizer", normalizer), ("pre_tokenizer", preTokenizer),
      ("post_processor", postProcessor), ("decoder", decoder),
    ]
    writer.write(literal: "{")
    Self.write(members, to: &writer)
    writer.write(literal: #""model":{"#)
    Self.write(options, to: &writer)
    switch model {
    case .merges(let merges, _, _):
      writeVocabulary(to: &writer)
      writer.write(literal: ",")
      write(merges, to: &writer)
    case .wordPieces: writeVocabulary(to: &writer)
    case .unigrams: writeScores(to: &writer)
    }
    writer.write(literal: "}}")
    return writer.bytes
  }

  /// The members of the model besides its lists.
  private var options: [(String, JSONValue)] {
    let text = unknown.map { JSONValue.string(vocabulary.texts[$0]) } ?? .null
    switch model {
    case .merges(_, let fallsBackToBytes, let ignoresMerges):
      return [
        ("type", "BPE"), ("dropout", .null), ("unk_token", text),
        ("continuing_subword_prefix", .null), ("end_of_word_suffix", .null),
        ("fuse_unk", .bool(fallsBackToBytes)), ("byte_fallback", .bool(fallsBackToBytes)),
        ("ignore_merges", .bool(ignoresMerges)),
      ]
    case .wordPieces:
      return [
        ("type", "WordPiece"), ("unk_token", text),
        ("continuing_subword_prefix", .string(WordPieceTokenizer.continuation)),
        ("max_input_chars_per_word", JSONValue(WordPieceTokenizer.usualWordLimit)),
      ]
    case .unigrams:
      return [
        ("type", "Unigram"), ("unk_id", unknown.map { JSONValue($0) } ?? .null),
        ("byte_fallback", false),
      ]
    }
  }

  private static func write(_ members: [(String, JSONValue)], to writer: inout JSONWriter) {
    for (key, value) in members {
      writer.write(string: key)
      writer.write(literal: ":")
      writer.write(value)
      writer.write(literal: ",")
    }
  }

  /// The tokens that are found in a text before it is split.
  private var addedTokens: JSONValue {
    var tokens: [JSONValue] = []
    for (id, kind) in vocabulary.kinds.enumerated() {
      guard [.unknown, .control, .userDefined].contains(kind) else { continue }
      tokens.append([
        "id": JSONValue(id), "content": .string(vocabulary.texts[id]), "single_word": false,
        "lstrip": false, "rstrip": false, "normalized": false,
        "special": .bool(kind != .userDefined),
      ])
    }
    return .array(tokens)
  }

  /// Writes all tokens, also the added ones: those outside the vocabulary would get the next ids.
  private func writeVocabulary(to writer: inout JSONWriter) {
    writer.write(literal: #""vocab":{"#)
    var isFirst = true
    for (id, text) in vocabulary.texts.enumerated() where vocabulary.has(id) {
      if !isFirst { writer.write(literal: ",") }
      isFirst = false
      writer.write(string: text)
      writer.write(literal: ":")
      writer.write(count: id)
    }
    writer.write(literal: "}")
  }

  /// Writes the texts and scores of unigrams, in the order of ids.
  ///
  /// The tokens that were added after them have ids of their own: scores of these would change that
  /// of unknown characters.
  private func writeScores(to writer: inout JSONWriter) {
    let last = vocabulary.texts.indices.last { id in
      vocabulary.has(id)
        && (![.control, .userDefined].contains(vocabulary.kinds[id])
          || vocabulary.scores[id] != Vocabulary.addedScore)
    }
    writer.write(literal: #""vocab":["#)
    for id in 0...(last ?? 0) {
      writer.write(literal: id > 0 ? ",[" : "[")
      writer.write(string: vocabulary.texts[id])
      writer.write(literal: ",")
      writer.write(.number(Double(vocabulary.scores[id])))
      writer.write(literal: "]")
    }
    writer.write(literal: "]")
  }

  private func write(_ merges: MergePairs, to writer: inout JSONWriter) {
    writer.write(literal: #""merges":["#)
    for (rank, pair) in merges.pairs.enumerated() {
      writer.write(literal: rank > 0 ? ",[" : "[")
      writer.write(string: vocabulary.texts[pair.left])
      writer.write(literal: ",")
      writer.write(string: vocabulary.texts[pair.right])
      writer.write(literal: "]")
    }
    writer.write(literal: "]")
  }
}
