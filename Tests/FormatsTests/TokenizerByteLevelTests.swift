import Bytes
import Formats
import TensorModel
import Testing

/// Translation of byte-level tokenizers in tokenizer.json.
@Suite struct TokenizerByteLevelTests {
  @Test("tokens are stored by id, and further rows of the embedding are padding")
  func tokens() throws {
    let result = try SmallTokenizer.byteLevel()
    #expect(
      result.keys == ["model", "pre", "tokens", "token_type", "merges"] as [String])
    #expect(result.value("model") == .text("gpt2") && result.value("pre") == .text("gpt-2"))
    let texts = try result.texts("tokens")
    #expect(texts.count == 300 && texts[32] == "Ġ" && texts[10] == "Ċ")
    #expect(texts[256...260] == ["th", "the", "<s>", "<tool>", "[PAD260]"])
    let kinds = try result.words("token_type")
    #expect(kinds[0...257].allSatisfy { $0 == 1 } && kinds[258...260] == [3, 4, 5])
    #expect(result.notes.isEmpty)
  }

  @Test("merges are pairs or texts with a space; a space in a token becomes Ġ")
  func merges() throws {
    let pairs: JSONValue = [["t", "h"], ["th", "e"]]
    let old = try SmallTokenizer.byteLevel()
    let new = try SmallTokenizer().with(
      "tokenizer.json", SmallTokenizer.byteLevelJSON(merges: pairs))()
    #expect(try new.texts("merges") == ["t h", "th e"])
    #expect(old.metadata == new.metadata)
    let spaced = try SmallTokenizer().with(
      "tokenizer.json",
      SmallTokenizer.byteLevelJSON(
        vocabulary: [(" ", 256), (" t", 257)], merges: [[" ", "t"]]))()
    #expect(try spaced.texts("merges") == ["Ġ t"])
  }

  static let llama3 =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"#
    + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#

  @Test("a pattern with two names gets the one with the same ignore_merges")
  func ignoredMerges() throws {
    for (ignores, name) in [(true, "llama-bpe"), (false, "dbrx")] {
      for behavior in ["Isolated", "Removed"] {
        let json = SmallTokenizer.byteLevelJSON(
          splitting: SmallTokenizer.split(Self.llama3, behavior),
          changes: ["model": ["ignore_merges": .bool(ignores)]])
        let result = try SmallTokenizer().with("tokenizer.json", json)()
        #expect(result.value("pre") == .text(name))
        #expect(result.notes.isEmpty)
        // llama.cpp adds BOS by default under the first name, so the flag must be false.
        #expect(result.value("add_bos_token") == (ignores ? .bool(false) : nil))
      }
    }
  }

  @Test("nested pre-tokenizers are flattened, and individual digits are a pattern")
  func nesting() throws {
    let digits: JSONValue = ["type": "Digits", "individual_digits": true]
    let inner: JSONValue = ["type": "Sequence", "pretokenizers": [SmallTokenizer.gpt2]]
    let json = SmallTokenizer.byteLevelJSON(
      splitting: ["type": "Sequence", "pretokenizers": [digits, inner]])
    #expect(try SmallTokenizer().with("tokenizer.json", json)().value("pre") == .text("smollm"))
  }

  static let unknown: [(JSONValue, String)] = [
    (SmallTokenizer.split("a+|b"), "a+|b"),
    (SmallTokenizer.split(llama3, "MergedWithNext"), "MergedWithNext"),
    (["type": "ByteLevel"], "add_prefix_space"),
    (
      ["type": "Sequence", "pretokenizers": [SmallTokenizer.gpt2, ["type": "Punctuation"]]],
      "Punctuation"
    ),
  ]

  @Test(
    "an unknown pre-tokenizer is refused with its steps and hints at both options",
    arguments: unknown)
  func unknownSteps(splitting: JSONValue, fragment: String) throws {
    var tokenizer = SmallTokenizer().with(
      "tokenizer.json", SmallTokenizer.byteLevelJSON(splitting: splitting))
    let error = tokenizer.error()
    #expect(error.kind == .unsupported)
    #expect(error.found?.contains(fragment) == true)
    #expect(error.hint?.contains("--tokenizer-pre") == true)
    #expect(error.hint?.contains("--tokenizer-from") == true)
    tokenizer.pre = "qwen2"
    #expect(try tokenizer().value("pre") == .text("qwen2"))
  }

  @Test("an unknown --tokenizer-pre is refused with similar names; a different one is noted")
  func names() throws {
    var tokenizer = SmallTokenizer.byteLevel
    tokenizer.pre = "qwen3"
    let error = tokenizer.error()
    #expect(error.kind == .usage && error.hint?.contains("qwen2") == true)
    tokenizer.pre = "qwen2"
    #expect(try tokenizer().notes.count == 1)
    tokenizer.pre = "olmo"
    let result = try tokenizer()
    #expect(result.notes.isEmpty && result.value("pre") == .text("olmo"))
  }

  @Test("a normalizer is ignored, noted or refused, depending on its effect")
  func normalizers() throws {
    for (type, count) in [("NFC", 0), ("NFKC", 1), ("NFD", 1)] {
      let json = SmallTokenizer.byteLevelJSON(changes: ["normalizer": ["type": .string(type)]])
      #expect(try SmallTokenizer().with("tokenizer.json", json)().notes.count == count)
    }
    let json = SmallTokenizer.byteLevelJSON(
      changes: [
        "normalizer": [
          "type": "Sequence", "normalizers": [["type": "NFC"], ["type": "Lowercase"]],
        ]
      ])
    let error = SmallTokenizer().with("tokenizer.json", json).error()
    #expect(error.kind == .unsupported && error.found == "Lowercase")
  }

  static let damaged: [(JSONValue, ModelError.Kind, String)] = [
    (
      SmallTokenizer.byteLevelJSON(vocabulary: [("th", 255)], merges: ["t h"]), .malformed,
      "same id"
    ),
    (
      SmallTokenizer.byteLevelJSON(vocabulary: [("th", 300)], merges: ["t h"]), .mismatch,
      "more tokens"
    ),
    (SmallTokenizer.byteLevelJSON(merges: ["t h", "t e"]), .malformed, "merge 1"),
    (SmallTokenizer.byteLevelJSON(merges: ["t h e"]), .malformed, "two parts"),
    (SmallTokenizer.byteLevelJSON(merges: [["t", "h", "e"]]), .malformed, "two parts"),
    (SmallTokenizer.byteLevelJSON(merges: ["t "]), .malformed, "merge 0"),
    (SmallTokenizer.byteLevelJSON(merges: []), .unsupported, "no merges"),
    (
      SmallTokenizer.byteLevelJSON(changes: ["added_tokens": [["id": 7, "content": "<s>"]]]),
      .malformed, "same id"
    ),
    (
      SmallTokenizer.byteLevelJSON(changes: ["added_tokens": [["id": 258, "content": "the"]]]),
      .malformed, "two ids"
    ),
    (
      SmallTokenizer.byteLevelJSON(changes: ["added_tokens": [["id": -1, "content": "<s>"]]]),
      .malformed, "added token"
    ),
    (
      SmallTokenizer.byteLevelJSON(
        changes: ["added_tokens": [["id": 258, "content": "[PAD259]", "special": true]]]),
      .unsupported, "same text"
    ),
    (
      SmallTokenizer.byteLevelJSON(changes: ["model": ["end_of_word_suffix": "</w>"]]),
      .unsupported, "parts of words"
    ),
    (["model": ["type": "WordPiece", "vocab": ["a": 0]]], .unsupported, "no such tokenizer"),
    (["model": ["type": "Unigram", "vocab": [["a", 0]]]], .unsupported, "no such tokenizer"),
    (["model": ["type": "BPE"]], .malformed, "empty"),
    (["added_tokens": 1], .malformed, "not a list"),
    ([], .malformed, "JSON"),
  ]

  @Test("an invalid vocabulary is refused", arguments: damaged)
  func damage(json: JSONValue, kind: ModelError.Kind, fragment: String) {
    let error = SmallTokenizer().with("tokenizer.json", json).error()
    #expect(error.kind == kind, "\(error)")
    #expect(error.what.contains(fragment), "\(error)")
    #expect(error.file == "tokenizer.json")
  }

  @Test("texts that differ only in Unicode normalization form are two tokens")
  func normalizationForms() throws {
    let json = SmallTokenizer.byteLevelJSON(
      vocabulary: [("\u{e9}\u{e8}", 256), ("e\u{301}\u{e8}", 257), ("e\u{301}", 260)],
      merges: [["\u{e9}", "\u{e8}"]])
    let texts = try SmallTokenizer().with("tokenizer.json", json)().texts("tokens")
    #expect(texts[256].codeUnits != texts[257].codeUnits && texts[256] == texts[257])
  }

  @Test("an added token beyond the embedding is left out with a note")
  func beyond() throws {
    var tokenizer = SmallTokenizer.byteLevel
    tokenizer.tokenCount = 259
    let result = try tokenizer()
    #expect(try result.texts("tokens").count == 259)
    #expect(result.notes.count == 1)
  }

  @Test("a truncated tokenizer.json is an error; one with a flipped bit never traps")
  func mutations() throws {
    let json = SmallTokenizer.byteLevelJSON(
      vocabulary: [("th", 256)], merges: ["t h"],
      changes: [
        "post_processor": ["type": "TemplateProcessing", "single": [["Sequence": ["id": "A"]]]]
      ])
    let whole = Array(JSONWriter.text(json).utf8)
    for length in whole.indices {
      let error = SmallTokenizer().with("tokenizer.json", Array(whole[..<length])).error()
      #expect([.malformed, .unsupported].contains(error.kind), "\(length): \(error)")
    }
    for offset in whole.indices {
      var bytes = whole
      bytes[offset] ^= 0x01
      do throws(ModelError) { _ = try SmallTokenizer().with("tokenizer.json", bytes)() } catch {
        #expect([.malformed, .unsupported, .mismatch].contains(error.kind), "\(offset): \(error)")
      }
    }
  }
}
