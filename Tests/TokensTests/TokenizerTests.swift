import TensorModel
import TestSupport
import Testing
import Tokens

/// Ids of texts, which are those of Hugging Face's tokenizers 0.23 for the same files.
@Suite struct TokenizerTests {
  private static let byteLevel: [(String, [Int32])] = [
    ("", []),
    ("Hello, world!", [42, 489, 320, 14, 295, 271, 1433, 3]),
    (
      "Once upon a time, there was 1234 h\u{E4}llo",
      [
        2859, 319, 808, 266, 267, 806, 14, 1188, 870, 473, 1882, 22, 370, 130, 100, 78, 320,
      ]
    ),
    (
      "def f(x):\n    return x ** 2  # done\n\n",
      [543, 279, 10, 90, 367, 282, 379, 874, 1332, 566, 223, 347, 2357, 917]
    ),
    (
      "I'm sure they'LL say it's \u{17F}ine  \n\n \u{3000}x",
      [
        43, 9, 79, 2990, 1356, 9, 4023, 290, 531, 421, 805, 223, 132, 126, 435, 259, 705, 162, 225,
        225, 90,
      ]
    ),
    (
      "\u{1F44D}\u{1F3FD} <s> e\u{301}",
      [175, 256, 242, 238, 175, 256, 240, 124, 223, 1, 365, 139, 226]
    ),
    (
      "Привет, 你好！ हिन्दी",
      [
        143, 256, 144, 225, 143, 119, 143, 113, 143, 116, 144, 227, 14, 223, 163, 124, 257, 164,
        101, 124, 174, 123, 226, 223, 159, 100, 120, 159, 100, 126, 159, 100, 104, 159, 101, 238,
        159, 100, 102, 159, 101, 225,
      ]
    ),
  ]

  private let tokenizer: Tokenizer
  private let scratch: Scratch

  init() throws {
    tokenizer = try Tokenizer.open(Fixtures.path("tinylm"))
    scratch = try Scratch()
  }

  @Test("a byte-level tokenizer gives the ids of Hugging Face's", arguments: byteLevel)
  func bytes(text: String, ids: [Int32]) {
    #expect(tokenizer.encode(text) == [1] + ids)
    #expect(tokenizer.encode(text, adding: .none) == ids)
    #expect(tokenizer.encode(text, adding: .begin) == [1] + ids)
    #expect(tokenizer.bytes(of: ids) == Array(text.utf8))
  }

  @Test("the bytes of single tokens are parts of scalars, and together the text")
  func streaming() {
    let ids = tokenizer.encode("\u{1F44D} the", adding: .none)
    let pieces = ids.map { tokenizer.bytes(of: $0) }
    #expect(pieces.prefix(4).allSatisfy { $0.count == 1 })
    #expect(Array(pieces.joined()) == Array("\u{1F44D} the".utf8))
    #expect(tokenizer.bytes(of: -1) == [] && tokenizer.bytes(of: 1 << 20) == [])
  }

  @Test("special tokens are known, and count as text if they are not asked for")
  func special() {
    #expect((tokenizer.beginID, tokenizer.endID) == (1, 2))
    #expect(tokenizer.usualStart == [1] && tokenizer.usualEnd == [])
    #expect(tokenizer.isSpecial(2) && !tokenizer.isSpecial(42))
    let ids = tokenizer.encode("</s>", adding: .none, findingSpecialTokens: false)
    #expect(ids.count > 1 && tokenizer.bytes(of: ids) == Array("</s>".utf8))
    #expect(tokenizer.encode("</s>", adding: .none) == [2])
    #expect(tokenizer.bytes(of: [1, 42, 2], leavingOutSpecial: true) == Array("H".utf8))
  }

  @Test("bytes that are not UTF-8 count as U+FFFD")
  func invalid() {
    let ids = tokenizer.encode([0x48, 0xFF], adding: .none)
    #expect(ids == tokenizer.encode("H\u{FFFD}", adding: .none))
  }

  @Test("a long word takes no more than n log n steps")
  func longWord() {
    let text = String(repeating: "ab", count: 100_000)
    let ids = tokenizer.encode(text, adding: .none)
    #expect(tokenizer.bytes(of: ids) == Array(text.utf8))
  }

  // MARK: - Pieces

  /// A tokenizer.json as that of Llama 2: `cab` is found in normalized text, as a whole word.
  private func pieces() throws -> Tokenizer {
    let bytes = (0..<256).map { byte in
      let digits = String(byte, radix: 16, uppercase: true)
      return "\"<0x\(byte < 16 ? "0" : "")\(digits)>\":\(byte + 3)"
    }
    let others = ["▁", "a", "b", "c", "▁a", "ab", "▁ab", "abc", "▁▁"].enumerated().map {
      "\"\($1)\":\($0 + 259)"
    }
    let vocabulary =
      (["\"<unk>\":0", "\"<s>\":1", "\"</s>\":2"] + bytes + others)
      .joined(separator: ",")
    let flags = #""single_word":false,"lstrip":false,"rstrip":false,"normalized":false"#
    let special = ["<unk>", "<s>", "</s>"].enumerated().map {
      "{\"id\":\($0),\"content\":\"\($1)\",\(flags),\"special\":true}"
    }
    try scratch.write(
      """
      {"added_tokens":[\(special.joined(separator: ",")),
      {"id":268,"content":"cab","single_word":true,"lstrip":true,"rstrip":true,"normalized":true,
      "special":false}],
      "normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},
      {"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":null,
      "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>",
      "type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
      "special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]}}},
      "decoder":{"type":"Sequence","decoders":[{"type":"Strip","content":" ","start":1,"stop":0}]},
      "model":{"type":"BPE","unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,
      "vocab":{\(vocabulary)},
      "merges":["▁ a","a b","▁a b","▁ ab","ab c","▁ ▁"]}}
      """, as: "tokenizer.json")
    return try Tokenizer.open(scratch.folder)
  }

  @Test("a tokenizer made from SentencePiece gives the ids of Hugging Face's")
  func sentencePiece() throws {
    let tokenizer = try pieces()
    let golden: [(String, [Int32])] = [
      ("", []),
      ("ab", [265]),
      ("ab abc  a", [265, 265, 262, 259, 263]),
      ("\u{E9}\u{1F44D}", [259, 198, 172, 243, 162, 148, 144]),
      ("<s>ab</s> c", [1, 265, 2, 267, 262]),
      (" ab", [259, 265]),
      ("ab cab  ab", [265, 259, 262, 264, 259, 265]),
      ("xcab", [259, 123, 262, 264]),
      ("a\0b", [263, 3, 261]),
    ]
    for (text, ids) in golden {
      #expect(tokenizer.encode(text) == [1] + ids, "\(text)")
      if !text.hasPrefix("<s>") { #expect(tokenizer.bytes(of: ids) == Array(text.utf8), "\(text)") }
    }
    #expect(tokenizer.addsSpace)
  }

  // MARK: - Refusals

  private func error(_ json: String) throws -> ModelError? {
    try scratch.write(json, as: "tokenizer.json")
    do throws(ModelError) {
      _ = try Tokenizer.open(scratch.folder)
      return nil
    } catch {
      return error
    }
  }

  @Test(
    "a part that Pleat does not know is refused by name",
    arguments: [
      (#""normalizer":{"type":"NFKD"}"#, "normalizer", "NFKD"),
      (#""pre_tokenizer":{"type":"UnicodeScripts"}"#, "pre_tokenizer", "UnicodeScripts"),
      (#""post_processor":{"type":"Own"}"#, "post_processor", "Own"),
    ])
  func unknownParts(part: String, place: String, name: String) throws {
    let error = try error(
      "{\(part),\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}")
    #expect(error?.kind == .unsupported)
    #expect((error?.tensor, error?.found) == (place, name))
    #expect(error?.file == scratch.path("tokenizer.json"))
  }

  @Test("a model that is not BPE is refused, and so is a folder without a tokenizer")
  func unknownModels() throws {
    let error = try error(#"{"model":{"type":"WordLevel","vocab":{"a":0}}}"#)
    #expect((error?.kind, error?.found) == (.unsupported, "WordLevel"))
    let empty = try scratch.makeFolder("empty")
    #expect(throws: ModelError.self) { try Tokenizer.open(empty) }
  }
}
