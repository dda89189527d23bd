internal import Architectures
internal import Bytes
internal import TensorModel

/// A WordPiece tokenizer: `bert` in GGUF.
///
/// llama.cpp marks the beginnings of words with ▁, where BERT marks the other parts with ##.
struct WordPieceTokenizer {
  private(set) var vocabulary: Vocabulary
  private(set) var notes: [String] = []
  /// Whether letters become lowercase.
  let lowercases: Bool
  /// Whether accents are removed; nil if they are removed where letters become lowercase.
  let stripsAccents: Bool?
  /// The text of the token for words that cannot be made from tokens.
  let unknown: String

  static let vocabularyFile = "vocab.txt"
  static let start = "▁"
  static let continuation = "##"
  /// The ids that llama.cpp assumes if the metadata of a GGUF file do not state them.
  static let assumedIDs = ["bos": 101, "unk": 100, "sep": 102, "pad": 0, "mask": 103]
  // llama.cpp does not count the letters of a word.
  static let usualWordLimit = 100

  /// Converts a tokenizer.json.
  ///
  /// Throws `unsupported`, `malformed` and `mismatch`.
  init(
    _ fast: FastTokenizer, configuration: JSONValue, tokenCount: Int
  ) throws(ModelError) {
    let normalizer = fast.parts["normalizer"] ?? .null
    try Self.check(fast, normalizer)
    lowercases = normalizer["lowercase"]?.bool ?? true
    stripsAccents = normalizer["strip_accents"]?.bool
    unknown = fast.model["unk_token"]?.string ?? "[UNK]"
    let unknownText = Array(unknown.utf8)
    guard fast.texts.index(of: unknownText[...]) != nil else {
      throw ModelError(
        .malformed, "the token for unknown words is not in the vocabulary",
        file: fast.source, tensor: "model.unk_token", found: "'\(unknown)'")
    }
    vocabulary = try fast.vocabulary(tokenCount: tokenCount, mark: Self.start, &notes) { text, _ in
      Vocabulary.Token(text: Self.marked(text), score: 0, kind: .normal)
    }
    noteLimits(fast)
    noteSettings(configuration)
  }

  /// Throws `unsupported` for steps that llama.cpp computes otherwise.
  private static func check(
    _ fast: FastTokenizer, _ normalizer: JSONValue
  ) throws(ModelError) {
    func expect(_ key: String, _ expected: String, _ found: String?) throws(ModelError) {
      guard found != expected else { return }
      throw ModelError(
        .unsupported, "llama.cpp computes something else than this WordPiece tokenizer",
        file: fast.source, tensor: key, expected: expected, found: found ?? "nothing",
        hint: GGUFTokenizer.donorHint)
    }
    try expect("normalizer", "BertNormalizer", normalizer["type"]?.string)
    for key in ["clean_text", "handle_chinese_chars"] {
      try expect("normalizer.\(key)", "true", "\(normalizer[key]?.bool ?? true)")
    }
    try expect(
      "pre_tokenizer", "BertPreTokenizer", fast.parts["pre_tokenizer"]?["type"]?.string)
    try expect(
      "model.continuing_subword_prefix", continuation,
      fast.model["continuing_subword_prefix"]?.string ?? continuation)
  }

  /// The text of a token in llama.cpp.
  private static func marked(_ text: ArraySlice<UInt8>) -> [UInt8] {
    text.starts(with: continuation.utf8)
      ? Array(text.dropFirst(continuation.utf8.count)) : Array(start.utf8) + text
  }

  private mutating func noteLimits(_ fast: FastTokenizer) {
    let limit = fast.model["max_input_chars_per_word"]?.int ?? Self.usualWordLimit
    if limit < Self.usualWordLimit {
      notes.append(
        "the tokenizer does not split words of more than \(limit) letters, llama.cpp does: ids of "
          + "such words may differ")
    }
    // Such a token, at the beginning of a word, stands for nothing in BERT.
    let count = (0..<fast.texts.count).count {
      let text = fast.texts[$0]
      return text.isEmpty || text.starts(with: (Self.continuation + Self.start).utf8)
    }
    if count > 0 {
      notes.append(
        "llama.cpp also begins words with \(count) token\(count == 1 ? "" : "s") that never begin "
          + "one here: ids of words outside the vocabulary may differ")
    }
    guard stripsAccents ?? lowercases,
      (0..<fast.texts.count).contains(where: { Self.hasLostLetters(fast.texts[$0]) })
    else { return }
    notes.append(
      "llama.cpp removes vowels and last consonants of Korean and of Indic scripts with the accents, "
        + "this tokenizer does not: ids of such text differ")
  }

  /// Whether llama.cpp removes a part of the text of a token where it removes accents.
  ///
  /// It removes all combining marks, also those with a width. Of a Korean syllable it keeps the
  /// first letter.
  private static func hasLostLetters(_ text: ArraySlice<UInt8>) -> Bool {
    String(decoding: text, as: UTF8.self).unicodeScalars.contains { scalar in
      let category = scalar.properties.generalCategory
      return 0x1160...0x11FF ~= scalar.value || category == .spacingMark
        || category == .enclosingMark
    }
  }

  /// Notes settings of tokenizer_config.json that differ, of which transformers takes these.
  private mutating func noteSettings(_ configuration: JSONValue) {
    let isClass = configuration["tokenizer_class"]?.string?.hasPrefix("BertTokenizer") ?? false
    let stated = configuration["do_lower_case"]?.bool ?? (isClass ? true : nil)
    guard let stated, stated != lowercases else { return }
    notes.append(
      "the output has \(lowercases ? "lowercase letters" : "uppercase and lowercase letters"), as "
        + "tokenizer.json states, but transformers takes do_lower_case \(stated) of "
        + "tokenizer_config.json")
  }

  /// Adds what becomes of letters to metadata.
  func writeNormalizer(to metadata: inout Metadata) {
    metadata.append("tokenizer.ggml.normalizer.lowercase", .bool(lowercases))
    if let stripsAccents {
      metadata.append("tokenizer.ggml.normalizer.strip_accents", .bool(stripsAccents))
    }
  }
}

// MARK: - vocab.txt

extension FastTokenizer {
  /// The special tokens of BERT where tokenizer_config.json states no others.
  static let wordPieceDefaults: JSONValue = [
    "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
    "mask_token": "[MASK]",
  ]

  /// The tokenizer that transformers makes from a vocab.txt and a tokenizer_config.json.
  ///
  /// Throws `unsupported` for other classes than that of BERT, and `malformed`.
  init(wordPieces bytes: [UInt8], _ configuration: JSONValue) throws(ModelError) {
    let file = WordPieceTokenizer.vocabularyFile
    let type = configuration["tokenizer_class"]?.string ?? "BertTokenizer"
    let known = ["BertTokenizer", "DistilBertTokenizer"]
    guard known.contains(where: { [$0, $0 + "Fast"].contains(type) }),
      configuration["do_basic_tokenize"]?.bool ?? true
    else {
      throw ModelError(
        .unsupported, "Pleat does not know how this vocabulary splits text", file: file,
        expected: known.joined(separator: " or ") + " with do_basic_tokenize", found: type,
        hint: "save the tokenizer again with transformers, which writes tokenizer.json")
    }
    let settings = Self.wordPieceDefaults.overridden(by: configuration)
    func text(_ kind: String) -> String { SpecialTokens.text(of: kind, in: settings) ?? "" }
    let lines = Self.lines(bytes)
    var added: [AddedToken] = []
    for kind in ["pad", "unk", "cls", "sep", "mask"] {
      guard let id = lines.firstIndex(where: { $0.elementsEqual(text(kind).utf8) }),
        !text(kind).isEmpty
      else {
        guard ["cls", "sep"].contains(kind) else { continue }
        throw ModelError(
          .malformed, "a token that belongs around every text is not in the vocabulary", file: file,
          tensor: "\(kind)_token", expected: "a line with '\(text(kind))'",
          hint: "\(TokenizerFiles.configurationFile) can name another token as \(kind)_token")
      }
      added.append(
        try AddedToken(
          special: text(kind), kind, id: id, settings, file: TokenizerFiles.configurationFile))
    }
    func token(_ text: String) -> JSONValue { ["SpecialToken": ["id": .string(text)]] }
    let ids = added.map { JSONValue.Member($0.text, ["ids": [JSONValue($0.id)]]) }
    let sequence: JSONValue = ["Sequence": ["id": "A"]]
    try self.init(
      algorithm: "WordPiece", tokens: lines, model: ["unk_token": .string(text("unk"))],
      parts: [
        "normalizer": [
          "type": "BertNormalizer", "clean_text": true,
          "handle_chinese_chars": .bool(configuration["tokenize_chinese_chars"]?.bool ?? true),
          "strip_accents": configuration["strip_accents"] ?? .null,
          "lowercase": .bool(configuration["do_lower_case"]?.bool ?? true),
        ], "pre_tokenizer": ["type": "BertPreTokenizer"],
        "post_processor": [
          "type": "TemplateProcessing",
          "single": [token(text("cls")), sequence, token(text("sep"))],
          "pair": [
            token(text("cls")), sequence, token(text("sep")), ["Sequence": ["id": "B"]],
            token(text("sep")),
          ], "special_tokens": .object(ids),
        ],
        "decoder": ["type": "WordPiece", "prefix": .string(WordPieceTokenizer.continuation)],
      ], added: added, file: file)
  }

  /// The lines of a text, without their ends; Python reads all three kinds of ends.
  private static func lines(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
    var lines: [ArraySlice<UInt8>] = []
    var start = 0
    var index = 0
    while index < bytes.count {
      let byte = bytes[index]
      index += 1
      guard byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") else { continue }
      lines.append(bytes[start..<index - 1])
      if byte == UInt8(ascii: "\r"), index < bytes.count, bytes[index] == UInt8(ascii: "\n") {
        index += 1
      }
      start = index
    }
    if start < bytes.count { lines.append(bytes[start...]) }
    return lines
  }
}
