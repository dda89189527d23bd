internal import Bytes
internal import TensorModel

/// A unigram tokenizer of SentencePiece: `t5` in GGUF.
struct UnigramTokenizer {
  private(set) var vocabulary: Vocabulary
  private(set) var notes: [String] = []
  /// Whether a space is added before a text.
  let addsSpace: Bool
  /// Whether runs of spaces become one space, and spaces around a text none.
  let mergesSpaces: Bool
  /// How characters are normalized; nil if they are not.
  let characterMap: CharacterMap?
  /// The id of the token for characters outside the vocabulary.
  let unknownID: Int

  /// The tokens with the first ids of XLM-RoBERTa.
  static let startTexts = ["<s>", "<pad>", "</s>", "<unk>"]

  /// Converts a tokenizer.json.
  ///
  /// Throws `unsupported`, `malformed` and `mismatch`.
  init(_ fast: FastTokenizer, tokenCount: Int) throws(ModelError) {
    if let text = fast.repeatedText {
      throw ModelError(
        .malformed, "the vocabulary has a token twice", file: FastTokenizer.file,
        tensor: "model", found: "'\(text)'")
    }
    guard fast.model["byte_fallback"]?.bool != true else {
      throw Self.refusal("model.byte_fallback", expected: "false", found: "true")
    }
    guard let unknown = fast.model["unk_id"]?.int, fast.texts.count > unknown, unknown >= 0 else {
      throw Self.refusal("model.unk_id", expected: "the id of a token", found: "none")
    }
    let steps = try UnigramSteps(fast)
    (addsSpace, mergesSpaces) = (steps.addsSpace, steps.mergesSpaces)
    (characterMap, unknownID) = (steps.characterMap, unknown)
    notes += steps.notes
    vocabulary = try fast.vocabulary(tokenCount: tokenCount, &notes) { text, index in
      Vocabulary.Token(text: Array(text), score: Float(fast.scores[index]), kind: .normal)
    }
    vocabulary.setKind(.unknown, of: unknown)
    for token in fast.addedTokens {
      // Special tokens keep the scores that the vocabulary has for them.
      guard token.id != unknown, let index = fast.texts.index(of: Array(token.text.utf8)[...])
      else { continue }
      vocabulary.setScore(Float(fast.scores[index]), of: token.id)
    }
    vocabulary.setScore(Float(fast.scores[unknown]), of: unknown)
  }

  /// Converts a SentencePiece model with the ids of XLM-RoBERTa.
  ///
  /// These differ from the ids in the file: `<s>`, `<pad>`, `</s>` and `<unk>` come first, then the
  /// pieces from the fourth on, then `mask`. Throws `malformed` and `mismatch`.
  init(_ model: SentencePieceModel, mask: String, tokenCount: Int) throws(ModelError) {
    let file = SentencePieceModel.unigramFile
    unknownID = 3
    let count = model.pieces.count + 2
    guard model.pieces.count > 3, count <= tokenCount else {
      throw ModelError(
        .mismatch, "the tokenizer does not fit the embedding", file: file,
        expected: "more than 3 tokens, and at most \(tokenCount - 2)",
        found: "\(model.pieces.count)", hint: "the tokenizer may belong to another model")
    }
    (addsSpace, mergesSpaces) = (model.addsSpace, model.removesSpaces)
    characterMap = CharacterMap(model.characterMap)
    guard characterMap != nil || model.characterMap.isEmpty else {
      throw ModelError(.malformed, "the table of characters is damaged", file: file)
    }
    vocabulary = Vocabulary(count: tokenCount)
    for (id, text) in Self.startTexts.enumerated() {
      let kind: Vocabulary.Kind = id == unknownID ? .unknown : .control
      vocabulary.set(id, Vocabulary.Token(text: Array(text.utf8), score: 0, kind: kind))
    }
    for (id, piece) in model.pieces.enumerated().dropFirst(3) {
      vocabulary.set(
        id + 1, Vocabulary.Token(text: piece.text, score: piece.score, kind: piece.kind))
    }
    vocabulary.set(
      count - 1, Vocabulary.Token(text: Array(mask.utf8), score: 0, kind: .control))
  }

  /// Whether tabs or line breaks do not become spaces.
  static func keepsLineEnds(_ map: CharacterMap) -> Bool {
    ["\t", "\n", "\r"].contains { map.replacement(of: $0) != [0x20] }
  }

  /// An error for a step that llama.cpp computes otherwise.
  static func refusal(_ key: String, expected: String, found: String) -> ModelError {
    ModelError(
      .unsupported, "llama.cpp computes something else than this unigram tokenizer",
      file: FastTokenizer.file, tensor: key, expected: expected, found: found,
      hint: GGUFTokenizer.donorHint)
  }

  /// Adds what becomes of spaces and characters to metadata, with `tokenTypeCount` between them.
  func writeSteps(to metadata: inout Metadata, tokenTypeCount: Int?) {
    metadata.append("tokenizer.ggml.add_space_prefix", .bool(addsSpace))
    GGUFTokenizer.write(tokenTypeCount: tokenTypeCount, to: &metadata)
    metadata.append("tokenizer.ggml.remove_extra_whitespaces", .bool(mergesSpaces))
    guard let characterMap else { return }
    metadata.append(
      "tokenizer.ggml.precompiled_charsmap",
      .array(
        MetadataArray(
          elementType: .u8, count: characterMap.bytes.count, bytes: characterMap.bytes)))
  }
}

/// The steps before a unigram model, as a tokenizer.json has them.
private struct UnigramSteps {
  private(set) var characterMap: CharacterMap?
  private(set) var addsSpace = false
  private(set) var mergesSpaces = false
  private(set) var notes: [String] = []
  private var splitsAtWhitespace = false

  private static let mark = "▁"

  /// Reads the normalizer and the pre-tokenizer.
  ///
  /// Throws `unsupported` for steps that llama.cpp computes otherwise, and `malformed`.
  init(_ fast: FastTokenizer) throws(ModelError) {
    let normalizer = fast.parts["normalizer"] ?? .null
    for step in normalizer["normalizers"]?.array ?? [normalizer] { try normalize(step) }
    guard let characterMap else {
      throw UnigramTokenizer.refusal(
        "normalizer", expected: "Precompiled",
        found: normalizer["type"]?.string ?? "nothing")
    }
    let splitter = fast.parts["pre_tokenizer"] ?? .null
    for step in splitter["pretokenizers"]?.array ?? [splitter] { try split(step) }
    if mergesSpaces, !addsSpace {
      throw UnigramTokenizer.refusal(
        "pre_tokenizer.prepend_scheme", expected: "always, as words are split at spaces",
        found: "never")
    }
    if !mergesSpaces {
      notes.append(
        "llama.cpp adds a space before text that begins with one, unlike this tokenizer: ids of "
          + "such text may differ")
    } else if !splitsAtWhitespace {
      notes.append(
        "llama.cpp removes a space at the end of a text, unlike this tokenizer: ids of such text "
          + "may differ")
    }
    guard splitsAtWhitespace, UnigramTokenizer.keepsLineEnds(characterMap) else { return }
    notes.append(
      "llama.cpp splits words at spaces only, this tokenizer also at tabs and line breaks: ids of "
        + "such text may differ")
  }

  private mutating func normalize(_ step: JSONValue) throws(ModelError) {
    switch step["type"]?.string {
    case "Precompiled" where characterMap == nil:
      guard let map = CharacterMap(base64: step["precompiled_charsmap"]?.string ?? "") else {
        throw ModelError(
          .malformed, "the table of characters is damaged", file: FastTokenizer.file,
          tensor: "normalizer.precompiled_charsmap")
      }
      characterMap = map
    case "Replace"
    where characterMap != nil && step["pattern"]?["Regex"]?.string == " {2,}"
      && [" ", Self.mark].contains(step["content"]?.string):
      mergesSpaces = true
    case let type:
      throw UnigramTokenizer.refusal(
        "normalizer", expected: "Precompiled, then at most Replace of spaces",
        found: type ?? "nothing")
    }
  }

  private mutating func split(_ step: JSONValue) throws(ModelError) {
    switch step["type"]?.string {
    case "WhitespaceSplit":
      (splitsAtWhitespace, mergesSpaces) = (true, true)
    case "Metaspace" where step["replacement"]?.string == Self.mark:
      // Old files state whether a space is added, newer ones where it is added.
      let adds = step["add_prefix_space"]?.bool ?? true
      let scheme = step["prepend_scheme"]?.string ?? (adds ? "always" : "never")
      addsSpace = scheme != "never"
    case let type:
      throw UnigramTokenizer.refusal(
        "pre_tokenizer", expected: "Metaspace with ▁, perhaps after WhitespaceSplit",
        found: type ?? "nothing")
    }
  }
}
