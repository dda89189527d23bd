import Bytes
import Formats
import TensorModel
import TestSupport
import Testing

/// Translation of SentencePiece tokenizers in tokenizer.model, or converted to tokenizer.json.
@Suite struct TokenizerSentencePieceTests {
  @Test("pieces keep scores and types, and further rows of the embedding are padding")
  func pieces() throws {
    let result = try SmallTokenizer.sentencePiece()
    #expect(
      result.keys == [
        "model", "pre", "tokens", "scores", "token_type", "bos_token_id", "eos_token_id",
        "unknown_token_id",
      ])
    #expect(result.value("model") == .text("llama") && result.value("pre") == .text("default"))
    let texts = try result.texts("tokens")
    #expect(texts.count == 300 && texts[0...3] == ["<unk>", "<s>", "</s>", "<0x00>"])
    #expect(texts[259...260] == ["▁a", "[PAD260]"])
    let kinds = try result.words("token_type")
    #expect(kinds[0...3] == [2, 3, 3, 6] && kinds[259...260] == [1, 5])
    let scores = try result.words("scores").map { Float(bitPattern: $0) }
    #expect(scores[3] == 0 && scores[259...260] == [-1, -10000])
    #expect(result.notes.isEmpty)
  }

  @Test("added tokens come from three files in order of precedence, with ▁ as a space")
  func addedTokens() throws {
    let result = try SmallTokenizer.sentencePiece
      .with("added_tokens.json", ["<a>": 260, "<b>": 261, "<far>": 400])
      .with(
        "tokenizer_config.json",
        [
          "added_tokens_decoder": [
            "261": ["content": "<c>", "special": true],
            "262": ["content": "▁▁", "special": false],
            "263": ["content": "<unused7>", "special": false],
          ]
        ]
      ).with(
        "tokenizer.json",
        [
          "added_tokens": [
            ["id": 261, "content": "<no>"], ["id": 264, "content": "<d>", "special": true],
          ], "model": ["type": "Unigram"],
        ])()
    #expect(try result.texts("tokens")[260...264] == ["<a>", "<c>", "  ", "<unused7>", "<d>"])
    #expect(try result.words("token_type")[260...264] == [4, 3, 4, 3, 3])
    #expect(try result.words("scores")[260] == Float(-1000).bitPattern)
    #expect(result.notes == ["left out 1 added token beyond the 300 rows of the embedding"])
  }

  @Test(
    "the model sets the space prefix, unless the config or Gemma overrides it")
  func space() throws {
    let bare = SmallTokenizer.sentencePieceBytes(normalizer: [0x18, 0, 0x20, 0])
    var tokenizer = SmallTokenizer().with("tokenizer.model", bare)
    #expect(try tokenizer().value("add_space_prefix") == .bool(false))
    #expect(try tokenizer().keys.last == "add_space_prefix")
    tokenizer = tokenizer.with("tokenizer_config.json", ["add_prefix_space": true])
    #expect(try tokenizer().value("add_space_prefix") == .bool(true))
    #expect(try tokenizer().keys.first == "add_space_prefix")
    tokenizer.architecture = "gemma2"
    #expect(try tokenizer().value("add_space_prefix") == .bool(false))
  }

  @Test("a normalization that llama.cpp does not apply is noted")
  func normalization() throws {
    let name = Array("nmt_nfkc".utf8)
    for normalizer in [
      [0x0A, UInt8(name.count)] + name + [0x12, 1, 9, 0x20, 0], [0x20, 1], [],
    ] {
      let bytes = SmallTokenizer.sentencePieceBytes(normalizer: normalizer)
      #expect(try SmallTokenizer().with("tokenizer.model", bytes)().notes.count == 1)
    }
  }

  static let refused: [([UInt8], ModelError.Kind, String)] = [
    (SmallTokenizer.sentencePieceBytes(trainer: [0x18, 1]), .unsupported, "unigram"),
    (SmallTokenizer.sentencePieceBytes(trainer: []), .unsupported, "unigram"),
    (SmallTokenizer.sentencePieceBytes(trainer: [0x18, 4]), .unsupported, "char"),
    (
      SmallTokenizer.sentencePieceBytes(trainer: [0x18, 2, 0xC0, 1, 1]), .unsupported,
      "words end in spaces"
    ),
    (SmallTokenizer.sentencePieceBytes(hasBytes: false), .unsupported, "<0x00>"),
    (SmallTokenizer.sentencePieceBytes(extra: [("<s>", 0, 1)]), .unsupported, "ids 1 and 259"),
    (SmallTokenizer.sentencePieceBytes(extra: [("a", 0, 7)]), .malformed, "unknown type"),
    (SmallTokenizer.sentencePieceBytes(extra: [("", 0, 1)]), .malformed, "no text"),
    (SmallTokenizer.sentencePieceBytes(extra: [("a", .nan, 1)]), .malformed, "no score"),
    (
      SmallTokenizer.sentencePieceBytes(extra: (0..<50).map { ("t\($0)", 0, 1) }), .mismatch,
      "more tokens"
    ),
    ([0x0A, 4, 0x0A, 2, 0xFF, 0xFE], .malformed, "UTF-8"),
    ([], .malformed, "no tokens"),
    ([0x00], .malformed, "number 0"),
    ([0x0B], .malformed, "not in use"),
    ([0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], .malformed, "too long"),
    ([0x0A, 5, 1], .malformed, "truncated"),
    (Array("IQ== 0\nIg== 1\n".utf8), .unsupported, "tiktoken"),
  ]

  @Test(
    "malformed files and models that llama.cpp does not support are refused", arguments: refused)
  func refusals(bytes: [UInt8], kind: ModelError.Kind, fragment: String) {
    let error = SmallTokenizer().with("tokenizer.model", bytes).error()
    #expect(error.kind == kind, "\(error)")
    #expect(error.description.contains(fragment), "\(error)")
  }

  @Test("a truncated or flipped tokenizer.model gives an error or a tokenizer")
  func mutations() {
    let whole = SmallTokenizer.sentencePieceBytes()
    for length in whole.indices {
      expectErrorOrTokenizer(Array(whole[..<length]), "\(length) bytes")
    }
    for offset in whole.indices {
      for mask: UInt8 in [0x01, 0xFF] {
        var bytes = whole
        bytes[offset] ^= mask
        expectErrorOrTokenizer(bytes, "byte \(offset) ^ \(mask)")
      }
    }
  }

  private func expectErrorOrTokenizer(_ bytes: [UInt8], _ damage: String) {
    do throws(ModelError) {
      _ = try SmallTokenizer().with("tokenizer.model", bytes)()
    } catch {
      #expect([.malformed, .unsupported].contains(error.kind), "\(damage): \(error)")
    }
  }

  /// A tokenizer.json as transformers converts it: merges in order, ▁ for spaces.
  private static func converted(
    _ merges: JSONValue, normalizer: JSONValue = .null, preTokenizer: JSONValue = .null,
    words: [String] = ["a", "b", "c", "▁", "ab", "abc", "▁ab"]
  ) -> SmallTokenizer {
    let texts = ["<unk>", "<s>", "</s>"] + (0..<256).map { "<0x\(hex($0))>" } + words
    let json: JSONValue = [
      "normalizer": normalizer, "pre_tokenizer": preTokenizer,
      "added_tokens": [["id": 1, "content": "<s>", "special": true]],
      "model": [
        "type": "BPE", "byte_fallback": true, "unk_token": "<unk>",
        "vocab": .object(texts.enumerated().map { .init($1, JSONValue($0)) }), "merges": merges,
      ],
    ]
    return SmallTokenizer().with("tokenizer.json", json)
  }

  private static func hex(_ value: Int) -> String {
    let digits = String(value, radix: 16, uppercase: true)
    return value < 16 ? "0" + digits : digits
  }

  static let marks: JSONValue = ["type": "Replace", "pattern": ["String": " "], "content": "▁"]

  @Test("the score of a token is the negative index of its first merge")
  func scores() throws {
    let result = try Self.converted(
      ["a b", "▁ ab", "ab c"], normalizer: Self.marks)()
    let scores = try result.words("scores").map { Float(bitPattern: $0) }
    #expect(scores[263...265] == [0, -2, -1])
    #expect(try result.words("token_type")[0...3] == [2, 3, 1, 6])
    #expect(result.value("add_space_prefix") == .bool(false))
    #expect(result.notes.isEmpty)
  }

  @Test("few tokens with missing merges are noted, more are refused")
  func openMerges() throws {
    let result = try Self.converted(["a b"], normalizer: Self.marks)()
    #expect(result.notes.count == 1 && result.notes[0].contains("2 of 266"))
    let error = Self.converted([], normalizer: Self.marks).error()
    #expect(error.kind == .unsupported && error.found?.contains("3 of 266") == true)
  }

  @Test("missing merges are those that trying every split of a token finds (seed 140)")
  func missingMerges() throws {
    var random = Seeded(140)
    for _ in 0..<20 {
      var words = ["a", "b", "▁", "é", "aé", ""]
      for _ in 0..<60 {
        let word = (0..<1 + random.below(6)).map { _ in ["a", "b", "é"][random.below(3)] }.joined()
        if !words.contains(word) { words.append(word) }
      }
      // In the order of tokens, so that the merges of one token follow each other.
      var merges: [[String]] = []
      var expected: Set<String> = []
      for word in words {
        for split in word.indices.dropFirst() {
          let parts = [String(word[..<split]), String(word[split...])]
          guard parts.allSatisfy(words.contains) else { continue }
          let isLeftOut = expected.count < 2 && random.below(4) == 0
          if isLeftOut { expected.insert(word) } else { merges.append(parts) }
        }
      }
      let list = JSONValue.array(merges.map { .array($0.map { .string($0) }) })
      var tokenizer = Self.converted(list, normalizer: Self.marks, words: words)
      tokenizer.tokenCount = 400
      let result = try tokenizer()
      let count = expected.isEmpty ? nil : "\(expected.count) of \(259 + words.count)"
      #expect(result.notes.count == (count == nil ? 0 : 1))
      #expect(result.notes.allSatisfy { $0.contains(count ?? "") })
    }
  }

  @Test("a token of a million letters gets its score")
  func longTokens() throws {
    // The translation would not finish if its time were quadratic in the length of a token.
    let half = String(repeating: "ab", count: 250_000)
    let result = try Self.converted(
      ["a b", .array([.string(half), .string(half)])], normalizer: Self.marks,
      words: ["a", "b", "▁", "ab", half, half + half])()
    #expect(result.notes.isEmpty)
    #expect(try result.words("scores")[264] == Float(-1).bitPattern)
  }

  @Test("each way to set a space prefix is understood")
  func spacePrefixes() throws {
    let merges: JSONValue = ["a b", "▁ ab", "ab c"]
    let legacy: JSONValue = [
      "type": "Sequence", "normalizers": [["type": "Prepend", "prepend": "▁"], Self.marks],
    ]
    #expect(try Self.converted(merges, normalizer: legacy)().value("add_space_prefix") == nil)
    for (scheme, prefix, notes) in [("first", true, 1), ("always", true, 1), ("never", false, 0)] {
      let metaspace: JSONValue = [
        "type": "Metaspace", "replacement": "▁", "split": false, "prepend_scheme": .string(scheme),
      ]
      let result = try Self.converted(merges, preTokenizer: metaspace)()
      #expect(result.value("add_space_prefix") == (prefix ? nil : .bool(false)))
      #expect(result.notes.count == notes)
    }
    let words: JSONValue = ["type": "Metaspace", "replacement": "▁", "split": true]
    #expect(Self.converted(merges, preTokenizer: words).error().kind == .unsupported)
    #expect(Self.converted(merges).error().kind == .unsupported)
  }

  @Test("--tokenizer-pre is a usage error for SentencePiece")
  func names() {
    var tokenizer = SmallTokenizer.sentencePiece
    tokenizer.pre = "qwen2"
    #expect(tokenizer.error().kind == .usage)
  }
}
