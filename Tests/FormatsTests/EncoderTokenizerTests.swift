import Architectures
import Bytes
import Formats
import TensorModel
import TestSupport
import Testing

/// Translation of WordPiece and unigram tokenizers.
@Suite struct EncoderTokenizerTests {
  private static let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]

  private static func token(_ text: String) -> JSONValue {
    ["SpecialToken": ["id": .string(text), "type_id": 0]]
  }

  static func wordPiece(
    _ words: [String] = ["a", "##b"], changes: JSONValue = [:]
  ) -> SmallTokenizer {
    let tokens = (special + words).enumerated()
    let added = special.enumerated().map { id, text -> JSONValue in
      ["id": JSONValue(id), "content": .string(text), "special": true]
    }
    let document: JSONValue = [
      "added_tokens": .array(added),
      "normalizer": ["type": "BertNormalizer", "lowercase": true, "strip_accents": .null],
      "pre_tokenizer": ["type": "BertPreTokenizer"],
      "post_processor": [
        "type": "TemplateProcessing",
        "single": [token("[CLS]"), ["Sequence": ["id": "A"]], token("[SEP]")], "pair": [],
      ],
      "model": [
        "type": "WordPiece", "unk_token": "[UNK]",
        "vocab": .object(tokens.map { .init($0.element, JSONValue($0.offset)) }),
      ],
    ]
    var tokenizer = SmallTokenizer()
    tokenizer.architecture = "bert"
    return tokenizer.with("tokenizer.json", document.overridden(by: changes))
      .with("tokenizer_config.json", ["cls_token": "[CLS]", "sep_token": "[SEP]"])
  }

  @Test("beginnings of words are marked instead of the other parts") func marks() throws {
    let result = try Self.wordPiece()()
    let texts = try result.texts("tokens")
    #expect(texts.prefix(7) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁a", "b", "▁[PAD6]"])
    #expect(try result.words("token_type").prefix(7) == [3, 3, 3, 3, 1, 1, 5])
    #expect(result.value("model") == .text("bert") && result.value("scores") == nil)
    #expect(result.value("unknown_token_id") == .u32(1))
    #expect(result.value("token_type_count") == .u32(1))
    #expect(result.value("normalizer.lowercase") == .bool(true))
    #expect(result.value("normalizer.strip_accents") == nil && result.notes.isEmpty)
  }

  @Test("tokens that llama.cpp takes for the beginning of a word are noted")
  func beginnings() throws {
    #expect(try Self.wordPiece(["a", "##▁x", ""])().notes.count == 1)
    // A word and a part of a word that have the same text in llama.cpp.
    let error = Self.wordPiece(["a", "##▁a"]).error()
    #expect(error.kind == .unsupported && error.found == "ids 4 and 5")
  }

  @Test("a tokenizer without its token for unknown words is malformed") func unknown() {
    let error = Self.wordPiece(changes: [
      "model": ["type": "WordPiece", "unk_token": "[NO]", "vocab": ["[CLS]": 0, "[SEP]": 1]]
    ]).error()
    #expect(error.kind == .malformed && error.tensor == "model.unk_token")
  }

  @Test("vocab.txt is read with all kinds of line ends") func lines() throws {
    var tokenizer = SmallTokenizer()
    tokenizer.architecture = "bert"
    let words = "[PAD]\n[UNK]\r\n[CLS]\r[SEP]\na\n##b"
    let result = try tokenizer.with("vocab.txt", Array(words.utf8))()
    #expect(try result.texts("tokens").prefix(6) == Self.special + ["▁a", "b"])
    let twice = tokenizer.with("vocab.txt", Array((words + "\na").utf8)).error()
    #expect(twice.kind == .malformed && twice.found == "'a'" && twice.file == "vocab.txt")
    let lacking = tokenizer.with("vocab.txt", Array("[UNK]\n[CLS]\na".utf8)).error()
    #expect(lacking.kind == .malformed && lacking.expected == "a line with '[SEP]'")
    #expect(lacking.tensor == "sep_token" && lacking.file == "vocab.txt")
    let other = tokenizer.with("vocab.txt", Array(words.utf8))
      .with("tokenizer_config.json", ["tokenizer_class": "BertJapaneseTokenizer"]).error()
    #expect(other.kind == .unsupported && other.found == "BertJapaneseTokenizer")
  }

  @Test("models that predict tokens have no such tokenizers in llama.cpp") func decoders() {
    var tokenizer = Self.wordPiece()
    tokenizer.architecture = "llama"
    #expect(tokenizer.error().kind == .unsupported)
  }

  // MARK: - Unigrams

  /// A table that replaces a tab by a space: a root, its child for the tab, and the text.
  static let table: [UInt8] = {
    var units = [UInt32](repeating: 0, count: 16)
    units[0] = 0  // the children of the root are at their own bytes
    units[9] = 9 | 1 << 8 | 3 << 10  // a tab, which ends here; its replacement is at 9 ^ 3
    units[10] = 1 << 31  // at place 0
    var bytes: [UInt8] = []
    bytes.append(littleEndian: UInt32(4 * units.count))
    for unit in units { bytes.append(littleEndian: unit) }
    return bytes + [0x20, 0]
  }()

  private static func base64(_ bytes: [UInt8]) -> String {
    let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    var text = ""
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let part = Array(bytes[start..<min(start + 3, bytes.count)])
      let bits = (part + [0, 0]).prefix(3).reduce(0) { $0 << 8 | Int($1) }
      for place in 0..<part.count + 1 { text.append(letters[bits >> (18 - 6 * place) & 63]) }
    }
    return text + String(repeating: "=", count: (4 - text.count % 4) % 4)
  }

  static func unigram(
    _ table: [UInt8], vocabulary: JSONValue? = nil
  ) -> SmallTokenizer {
    let document: JSONValue = [
      "added_tokens": [["id": 0, "content": "<s>", "special": true]],
      "normalizer": ["type": "Precompiled", "precompiled_charsmap": .string(base64(table))],
      "pre_tokenizer": [
        "type": "Sequence",
        "pretokenizers": [
          ["type": "WhitespaceSplit"],
          ["type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"],
        ],
      ],
      "model": [
        "type": "Unigram", "unk_id": 1,
        "vocab": vocabulary ?? [["<s>", 0], ["<unk>", 0], ["▁a", .number(-1.5)]],
      ],
    ]
    var tokenizer = SmallTokenizer()
    tokenizer.architecture = "xlm-roberta"
    return tokenizer.with("tokenizer.json", document)
  }

  @Test("pieces keep their scores, and the table of characters its bytes") func pieces() throws {
    let result = try Self.unigram(Self.table)()
    #expect(try result.texts("tokens").prefix(4) == ["<s>", "<unk>", "▁a", "[PAD3]"])
    let scores = try result.words("scores").map { Float(bitPattern: $0) }
    #expect(scores.prefix(4) == [0, 0, -1.5, -10000])
    #expect(try result.words("token_type").prefix(4) == [3, 2, 1, 5])
    #expect(
      result.value("precompiled_charsmap")
        == .array(
          MetadataArray(elementType: .u8, count: Self.table.count, bytes: Self.table)))
    #expect(result.value("remove_extra_whitespaces") == .bool(true))
    #expect(result.value("add_eos_token") == .bool(false))
    // The table leaves line breaks as they are.
    #expect(result.notes.count == 1 && result.notes[0].contains("line breaks"))
  }

  @Test("a piece that occurs twice is malformed") func twice() {
    let error = Self.unigram(Self.table, vocabulary: [["a", 0], ["<unk>", 0], ["a", 1]]).error()
    #expect(error.kind == .malformed && error.found == "'a'")
  }

  @Test("a table of any bytes is read or refused") func damaged() throws {
    var accepted = 0
    for index in Self.table.indices {
      for bit in 0..<8 {
        var table = Self.table
        table[index] ^= 1 << bit
        if (try? Self.unigram(table)()) != nil { accepted += 1 }
      }
      #expect(Self.unigram(Array(Self.table[..<index])).error().kind == .malformed)
    }
    #expect(accepted > 0)
  }
}
