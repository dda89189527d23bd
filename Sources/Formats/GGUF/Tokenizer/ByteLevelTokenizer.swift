internal import Bytes
internal import TensorModel

extension FastTokenizer {
  /// The pre-tokenizer: how a text is split before merges are applied.
  package var preTokenizer: PreTokenizer { PreTokenizer(parts["pre_tokenizer"] ?? .null) }

  /// Whether the tokenizer merges bytes, each of which is written as a letter.
  package var isByteLevel: Bool {
    algorithm == "BPE" && model["byte_fallback"]?.bool != true && preTokenizer.isByteLevel
  }

  /// Whether a word that is a token is taken whole, without applying merges.
  package var ignoresMerges: Bool { model["ignore_merges"]?.bool ?? false }

  /// Throws `unsupported` unless this is a BPE tokenizer that llama.cpp can represent.
  ///
  /// Throws `malformed` for an empty vocabulary.
  func checkAlgorithm() throws(ModelError) {
    let supported = "BPE, byte-level or with byte fallback"
    guard algorithm == "BPE" else {
      throw ModelError(
        .unsupported, "llama.cpp has no such tokenizer for these models", file: Self.file,
        expected: supported, found: algorithm, hint: GGUFTokenizer.donorHint)
    }
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
      guard model[key]?.string ?? "" == "" else {
        throw ModelError(
          .unsupported, "llama.cpp does not support marks on parts of words", file: Self.file,
          tensor: "model.\(key)", found: model[key]?.string, hint: GGUFTokenizer.donorHint)
      }
    }
    guard texts.count > 0 else {
      throw ModelError(.malformed, "the vocabulary is empty", file: Self.file)
    }
  }

  /// Throws `unsupported` if there are no merges.
  func checkHasMerges() throws(ModelError) {
    guard merges.count == 0 else { return }
    throw ModelError(
      .unsupported, "there are no merges, which llama.cpp needs for such a tokenizer",
      file: source, hint: GGUFTokenizer.donorHint)
  }

  /// Adds the merges to metadata, with a space between their two parts.
  ///
  /// A space within a part is written as Ġ, the letter that stands for this byte.
  func writeMerges(to metadata: inout Metadata) {
    var bytes: [UInt8] = []
    for index in stride(from: 0, to: merges.count, by: 2) {
      var text: [UInt8] = []
      for part in [merges[index], merges[index + 1]] {
        if !text.isEmpty { text.append(UInt8(ascii: " ")) }
        if part.contains(UInt8(ascii: " ")) {
          text += part.replacing(" ".utf8, with: "Ġ".utf8)
        } else {
          text += part
        }
      }
      GGUFMetadata.append(text: text, to: &bytes)
    }
    metadata.append(
      "tokenizer.ggml.merges",
      .array(MetadataArray(elementType: .string, count: merges.count / 2, bytes: bytes)))
  }

  /// The vocabulary, ordered by id.
  ///
  /// `token` makes a token from its text and its index in the file, and `mark` begins the texts of
  /// unused tokens. Throws `mismatch` if there are more ids than rows, and `malformed` for
  /// conflicting ids.
  func vocabulary(
    tokenCount: Int, mark: String = "", _ notes: inout [String],
    _ token: (ArraySlice<UInt8>, Int) -> Vocabulary.Token
  ) throws(ModelError) -> Vocabulary {
    var vocabulary = Vocabulary(count: tokenCount, mark: mark)
    for index in 0..<texts.count {
      let id = ids[index]
      let text = texts[index]
      guard id < tokenCount else {
        throw ModelError(
          .mismatch, "the tokenizer has more tokens than the embedding has rows", file: source,
          tensor: String(decoding: text, as: UTF8.self), expected: "ids below \(tokenCount)",
          found: "\(id)", hint: "the tokenizer may belong to another model")
      }
      guard !vocabulary.has(id) else {
        throw ModelError(
          .malformed, "two tokens have the same id", file: source,
          tensor: String(decoding: text, as: UTF8.self), found: "\(id)")
      }
      vocabulary.set(id, token(text, index))
    }
    var beyond = 0
    for added in addedTokens {
      if let id = id(of: added.text), id != added.id {
        throw ModelError(
          .malformed, "a token has two ids", file: source, tensor: added.text,
          found: "\(id) and \(added.id)")
      }
      guard added.id < tokenCount else {
        beyond += 1
        continue
      }
      if vocabulary.has(added.id), id(of: added.text) != added.id {
        throw ModelError(
          .malformed, "two tokens have the same id", file: source, tensor: added.text,
          found: "\(added.id)")
      }
      vocabulary.add(added)
    }
    if beyond > 0 { notes.append(Notes.beyond(beyond, tokenCount)) }
    return vocabulary
  }
}

/// A byte-level BPE tokenizer: `gpt2` in GGUF.
struct ByteLevelTokenizer {
  private(set) var vocabulary: Vocabulary
  private(set) var notes: [String] = []
  /// The value of `tokenizer.ggml.pre`.
  let name: String

  /// Converts a tokenizer; `pre` is the name of the pre-tokenizer that the user gave.
  ///
  /// Throws `usage`, `unsupported`, `malformed` and `mismatch`.
  init(_ fast: FastTokenizer, tokenCount: Int, pre: String?) throws(ModelError) {
    let known = fast.preTokenizer.known(ignoringMerges: fast.ignoresMerges)
    if let pre {
      try PreTokenizerName.check(pre)
      name = pre
      if let known, !known.names.contains(pre) {
        notes.append("\(fast.source) splits text as \(known.names[0]) does, not as \(pre)")
      }
    } else {
      guard let known else { throw fast.patternFault ?? Self.unknown(fast) }
      name = known.names[0]
      if let difference = known.difference { notes.append(difference) }
    }
    if fast.ignoresMerges != PreTokenizerName.ignoringMerges.contains(name), !fast.mergesMakeAll {
      notes.append(
        "for \(name), llama.cpp \(fast.ignoresMerges ? "applies merges to" : "takes whole") a word "
          + "that is a token, unlike this tokenizer: ids of such words may differ")
    }
    try Self.check(fast.parts["normalizer"] ?? .null, &notes)
    vocabulary = try fast.vocabulary(tokenCount: tokenCount, &notes) { text, _ in
      Vocabulary.Token(text: Array(text), score: 0, kind: .normal)
    }
    try fast.checkHasMerges()
  }

  private static func unknown(_ fast: FastTokenizer) -> ModelError {
    ModelError(
      .unsupported, "no known pre-tokenizer of llama.cpp splits text as this tokenizer does",
      file: fast.source, tensor: "pre_tokenizer", found: fast.preTokenizer.description,
      hint: "pass --tokenizer-pre NAME if llama.cpp's NAME splits text the same way; or "
        + GGUFTokenizer.donorHint)
  }

  /// Checks a normalizer, because llama.cpp does not normalize text.
  private static func check(_ normalizer: JSONValue, _ notes: inout [String]) throws(ModelError) {
    let type = normalizer["type"]?.string
    switch type {
    // Nearly all text is in NFC already. llama.cpp's own converter does not mention it either.
    case nil, "NFC": break
    case "Sequence":
      for part in normalizer["normalizers"]?.array ?? [] { try check(part, &notes) }
    case "NFD"?, "NFKC"?, "NFKD"?:
      notes.append(
        "the tokenizer normalizes text to \(type ?? ""), llama.cpp does not: ids of text in another "
          + "form differ")
    default:
      throw ModelError(
        .unsupported, "the tokenizer normalizes text in a way that llama.cpp does not support",
        file: FastTokenizer.file, tensor: "normalizer", found: type,
        hint: GGUFTokenizer.donorHint)
    }
  }
}
