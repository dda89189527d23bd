internal import Bytes
internal import TensorModel

extension FastTokenizer {
  /// How the text is split before bytes are joined.
  var preTokenizer: PreTokenizer { PreTokenizer(parts["pre_tokenizer"] ?? .null) }

  /// Whether bytes are joined, each written as a letter.
  var isByteLevel: Bool {
    algorithm == "BPE" && model["byte_fallback"]?.bool != true && preTokenizer.isByteLevel
  }

  /// Whether a word that is a token is taken whole, without looking at merges.
  var ignoresMerges: Bool { model["ignore_merges"]?.bool ?? false }

  /// Throws `unsupported` unless the vocabulary is one of byte pairs as llama.cpp has them.
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
          .unsupported, "llama.cpp does not mark parts of words", file: Self.file,
          tensor: "model.\(key)", found: model[key]?.string, hint: GGUFTokenizer.donorHint)
      }
    }
    guard texts.count > 0 else {
      throw ModelError(.malformed, "the vocabulary is empty", file: Self.file)
    }
  }

  /// The vocabulary with ids in their places, `kind` and `score` decided by text and place in file.
  ///
  /// Throws `mismatch` when there are more ids than rows, `malformed` for ids that do not fit.
  func vocabulary(
    tokenCount: Int, _ notes: inout [String],
    _ token: (ArraySlice<UInt8>, Int) -> Vocabulary.Token
  ) throws(ModelError) -> Vocabulary {
    var vocabulary = Vocabulary(count: tokenCount)
    for index in 0..<texts.count {
      let id = ids[index]
      let text = texts[index]
      guard id < tokenCount else {
        throw ModelError(
          .mismatch, "the tokenizer has more tokens than the embedding has rows", file: Self.file,
          tensor: String(decoding: text, as: UTF8.self), expected: "ids below \(tokenCount)",
          found: "\(id)", hint: "the tokenizer may be that of another model")
      }
      guard !vocabulary.has(id) else {
        throw ModelError(
          .malformed, "two tokens have the same id", file: Self.file,
          tensor: String(decoding: text, as: UTF8.self), found: "\(id)")
      }
      vocabulary.set(id, token(text, index))
    }
    var beyond = 0
    for added in addedTokens {
      if let id = id(of: added.text), id != added.id {
        throw ModelError(
          .malformed, "a token has two ids", file: Self.file, tensor: added.text,
          found: "\(id) and \(added.id)")
      }
      guard added.id < tokenCount else {
        beyond += 1
        continue
      }
      if vocabulary.has(added.id), vocabulary.tokens[added.id].text != Array(added.text.utf8) {
        throw ModelError(
          .malformed, "two tokens have the same id", file: Self.file, tensor: added.text,
          found: "\(added.id)")
      }
      vocabulary.add(added)
    }
    if beyond > 0 { notes.append(Notes.beyond(beyond, tokenCount)) }
    return vocabulary
  }
}

/// A tokenizer that joins bytes: `gpt2` in GGUF.
struct ByteLevelTokenizer {
  private(set) var vocabulary: Vocabulary
  private(set) var notes: [String] = []
  /// The value of `tokenizer.ggml.pre`.
  let name: String
  private let merges: TextList

  /// Takes over a tokenizer.json; `pre` is what the user says of how it splits.
  ///
  /// Throws `usage`, `unsupported`, `malformed` and `mismatch`.
  init(_ fast: FastTokenizer, tokenCount: Int, pre: String?) throws(ModelError) {
    merges = fast.merges
    let known = fast.preTokenizer.known(ignoringMerges: fast.ignoresMerges)
    if let pre {
      try PreTokenizerName.check(pre)
      name = pre
      if let known, !known.names.contains(pre) {
        notes.append("tokenizer.json splits text as \(known.names[0]) does, not as \(pre)")
      }
    } else {
      guard let known else { throw Self.unknown(fast.preTokenizer) }
      name = known.names[0]
      if let difference = known.difference { notes.append(difference) }
    }
    if fast.ignoresMerges != PreTokenizerName.ignoringMerges.contains(name) {
      notes.append(
        "for \(name) llama.cpp \(fast.ignoresMerges ? "looks at merges" : "takes a word whole")"
          + " where a word is a token, unlike this tokenizer: ids of such words may differ")
    }
    try Self.check(fast.parts["normalizer"] ?? .null, &notes)
    vocabulary = try fast.vocabulary(tokenCount: tokenCount, &notes) { text, _ in
      Vocabulary.Token(text: Array(text), score: 0, kind: .normal)
    }
    guard merges.count > 0 else {
      throw ModelError(
        .unsupported, "there are no merges, without which llama.cpp loads no such tokenizer",
        file: FastTokenizer.file, hint: GGUFTokenizer.donorHint)
    }
  }

  /// Adds merges to metadata, a space between the parts.
  ///
  /// A space in a part is written Ġ, the letter of that byte.
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

  private static func unknown(_ steps: PreTokenizer) -> ModelError {
    ModelError(
      .unsupported, "no pre-tokenizer of llama.cpp is known to split text as this tokenizer does",
      file: FastTokenizer.file, tensor: "pre_tokenizer", found: steps.description,
      hint: "--tokenizer-pre NAME, if you know that it splits as NAME does in llama.cpp; or "
        + GGUFTokenizer.donorHint)
  }

  /// llama.cpp takes text as it is.
  private static func check(_ normalizer: JSONValue, _ notes: inout [String]) throws(ModelError) {
    let type = normalizer["type"]?.string
    switch type {
    // Text is composed nearly everywhere, and llama.cpp's own converter says nothing of it.
    case nil, "NFC": break
    case "Sequence":
      for part in normalizer["normalizers"]?.array ?? [] { try check(part, &notes) }
    case "NFD"?, "NFKC"?, "NFKD"?:
      notes.append(
        "the tokenizer brings text into \(type ?? "") first, llama.cpp does not: ids of letters "
          + "with another spelling differ")
    default:
      throw ModelError(
        .unsupported, "the tokenizer changes text first in a way that llama.cpp does not",
        file: FastTokenizer.file, tensor: "normalizer", found: type,
        hint: GGUFTokenizer.donorHint)
    }
  }
}
