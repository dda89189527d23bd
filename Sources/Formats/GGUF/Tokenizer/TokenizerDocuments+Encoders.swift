internal import Architectures
internal import Bytes
internal import TensorModel

/// The tokenizers of models that embed texts.
extension TokenizerDocuments {
  private static let prefix = "tokenizer.ggml."

  /// How the tokenizer of a model that embeds texts differs; nil for other models.
  ///
  /// Throws `malformed` for values of another type.
  static func embedding(_ metadata: Metadata) throws(ModelError) -> ListedTokens.Embedding? {
    let name = metadata["general.architecture"]?.text ?? ""
    guard Architectures.named(name)?.isEncoder ?? false else { return nil }
    return ListedTokens.Embedding(
      contextLength: metadata["\(name).context_length"]?.integer, hasTokenTypes: false,
      separates: try metadata.flag(prefix + "add_sep_token") ?? false)
  }

  /// A WordPiece tokenizer, in which ## marks the tokens that continue a word.
  ///
  /// llama.cpp begins every text with one token and ends it with another one, whatever the metadata
  /// states. Throws `malformed`.
  static func wordPieces(
    _ metadata: Metadata
  ) throws(ModelError) -> (FastDocument, ListedTokens) {
    let (start, continuation) = (WordPieceTokenizer.start, WordPieceTokenizer.continuation)
    let vocabulary = try ListedVocabulary(metadata, scores: false).mapping { text, kind in
      // Tokens that are found in a text before it is split have no mark.
      guard ![.control, .unknown, .userDefined].contains(kind) else { return text }
      // The mark alone continues a word, as no word is empty.
      guard text.utf8.starts(with: start.utf8), text.utf8.count > start.utf8.count else {
        return continuation + text
      }
      return String(decoding: text.utf8.dropFirst(start.utf8.count), as: UTF8.self)
    }
    let lowercases = try metadata.flag(prefix + "normalizer.lowercase") ?? true
    let strips = try metadata.flag(prefix + "normalizer.strip_accents")
    let stripsAccents = strips.map { JSONValue.bool($0) } ?? .null
    let typeCount = metadata[prefix + "token_type_count"]?.integer ?? 1
    var embedding = try embedding(metadata)
    embedding?.hasTokenTypes = typeCount > 1
    embedding?.settings = [
      .init("do_lower_case", .bool(lowercases)), .init("strip_accents", stripsAccents),
      .init("tokenize_chinese_chars", true),
    ]
    embedding?.unnamedKinds = ["bos", "eos"]
    var special = try ListedTokens(
      metadata, vocabulary, addsStart: true, addsEnd: true,
      defaults: WordPieceTokenizer.assumedIDs, embedding: embedding)
    try special.surround("bos", "sep", hint: hint)
    let unknown = special.ids["unk"]
    guard unknown != nil else {
      throw ModelError(
        .malformed, "the file does not say which token stands for unknown words",
        tensor: prefix + "unknown_token_id", hint: hint)
    }
    let document = FastDocument(
      vocabulary: vocabulary, model: .wordPieces,
      normalizer: [
        "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
        "strip_accents": stripsAccents, "lowercase": .bool(lowercases),
      ], preTokenizer: ["type": "BertPreTokenizer"], postProcessor: special.template ?? .null,
      decoder: ["type": "WordPiece", "prefix": .string(continuation), "cleanup": true],
      unknown: unknown)
    return (document, special)
  }

  /// A unigram tokenizer of SentencePiece.
  ///
  /// Throws `malformed`, and `unsupported` for spaces that tokenizer.json treats otherwise.
  static func unigrams(
    _ metadata: Metadata, _ notes: inout [String]
  ) throws(ModelError) -> (FastDocument, ListedTokens) {
    let vocabulary = try ListedVocabulary(metadata, scores: true)
    let special = try ListedTokens(
      metadata, vocabulary, addsStart: false, addsEnd: true, defaults: ["unk": 2, "eos": 1],
      embedding: try embedding(metadata))
    guard let unknown = special.ids["unk"] else {
      throw ModelError(
        .malformed, "the file does not say which token stands for unknown characters",
        tensor: prefix + "unknown_token_id", hint: hint)
    }
    let spaceKey = prefix + "add_space_prefix"
    guard try metadata.flag(spaceKey) ?? true else {
      throw ModelError(
        .unsupported, "Pleat cannot write a tokenizer.json of unigrams without a first space",
        tensor: spaceKey, expected: "true", found: "false", hint: hint)
    }
    let map = try CharacterMap.stated(in: metadata)
    let merges = try metadata.flag(prefix + "remove_extra_whitespaces") ?? false
    if !merges {
      notes.append(
        "llama.cpp adds a space before text that begins with one, unlike tokenizer.json: ids of "
          + "such text may differ")
    } else if map.map(UnigramTokenizer.keepsLineEnds) ?? true {
      notes.append(
        "llama.cpp splits words at spaces only, tokenizer.json also at tabs and line breaks: ids of "
          + "such text may differ")
    }
    let pieces: JSONValue = [
      "type": "Metaspace", "replacement": mark, "prepend_scheme": "always", "split": true,
    ]
    let document = FastDocument(
      vocabulary: vocabulary, model: .unigrams,
      normalizer: map.map {
        [
          "type": "Precompiled", "precompiled_charsmap": .string(Base64.encoded($0.bytes)),
        ]
      } ?? .null,
      preTokenizer: merges
        ? ["type": "Sequence", "pretokenizers": [["type": "WhitespaceSplit"], pieces]] : pieces,
      postProcessor: special.template ?? .null, decoder: pieces, unknown: unknown)
    return (document, special)
  }
}
