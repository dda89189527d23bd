import Formats
import TensorModel
import TestSupport
import Testing
import Tokens

/// Ids of WordPiece and texts of them, which are those of Hugging Face's tokenizers 0.23.
@Suite struct WordPieceTests {
  private static let vocabulary = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "un", "##aff", "##able", "##ing", "don",
    "'", "t", ".", "!", "cafe", "caf\u{E9}", "stra", "##\u{DF}e", "ss", "ok", "ii", "i", "##s",
    "\u{4F60}", "\u{597D}", "\u{1112}", "##\u{1161}", "##\u{11AB}", "\u{D55C}", "a", "##b",
    "##\u{302E}", "##\u{1BF2}",
  ]

  /// Texts, and their ids with the accents of lowercase text removed, and with its letters kept.
  private static let golden: [(text: String, lower: [Int32], cased: [Int32])] = [
    ("", [], []),
    (
      "The unaffable[MASK]Don't.", [5, 6, 7, 8, 4, 10, 11, 12, 13], [1, 6, 7, 8, 4, 1, 11, 12, 13]
    ),
    ("CAFE\u{301} caf\u{E9} Caf\u{E9}!", [15, 15, 15, 14], [1, 16, 1, 14]),
    ("stra\u{DF}e STRA\u{DF}E SS", [17, 18, 17, 18, 19], [17, 18, 1, 1]),
    ("\u{4F60}\u{597D}\u{4F60}a", [24, 25, 24, 30], [24, 25, 24, 30]),
    ("\u{D55C} \u{1112}\u{1161}\u{11AB}", [26, 27, 28, 26, 27, 28], [29, 26, 27, 28]),
    // The normal form D sorts marks, also those that stay.
    ("a\u{1BF2}\u{302E}b ab\u{302E}\u{301}", [30, 33, 32, 31, 30, 31, 32], [30, 33, 32, 31, 1]),
    ("o\u{200D}k o\u{301}k \u{FFFD}ok\0", [20, 20, 20], [20, 1, 20]),
    // Words of more than twelve letters are unknown, whatever tokens there are.
    (
      "aaaaaaaaaaaaa ab abbbbbbbbbbbb abbbbbbbbbbb",
      [1, 30, 31, 1, 30, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31],
      [1, 30, 31, 1, 30, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31]
    ),
    ("\u{130}s I", [22, 23, 22], [1, 1]),
  ]

  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func tokenizer(_ settings: String, decoder: String = "WordPiece") throws -> Tokenizer {
    let vocabulary = Self.vocabulary.enumerated().map { "\"\($1)\":\($0)" }
    let flags = #""single_word":false,"lstrip":false,"rstrip":false,"normalized":false"#
    let special = Self.vocabulary.prefix(5).enumerated().map {
      "{\"id\":\($0),\"content\":\"\($1)\",\(flags),\"special\":true}"
    }
    try scratch.write(
      """
      {"added_tokens":[\(special.joined(separator: ","))],
      "normalizer":{"type":"BertNormalizer",\(settings)},
      "pre_tokenizer":{"type":"BertPreTokenizer"},
      "post_processor":{"type":"BertProcessing","sep":["[SEP]",3],"cls":["[CLS]",2]},
      "decoder":{"type":"\(decoder)","prefix":"##","cleanup":true},
      "model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##",
      "max_input_chars_per_word":12,"vocab":{\(vocabulary.joined(separator: ","))}}}
      """, as: "tokenizer.json")
    return try Tokenizer.open(scratch.folder)
  }

  @Test("words become the longest tokens from the left, as in Hugging Face's")
  func ids() throws {
    let lower = try tokenizer(#""lowercase":true"#)
    let cased = try tokenizer(#""lowercase":false"#)
    for (text, lowerIDs, casedIDs) in Self.golden {
      #expect(lower.encode(text) == [2] + lowerIDs + [3], "\(text)")
      #expect(cased.encode(text, adding: .none) == casedIDs, "\(text)")
    }
  }

  @Test("each setting of the normalizer counts alone")
  func settings() throws {
    let accents = try tokenizer(#""strip_accents":false"#)
    #expect(accents.encode("Caf\u{E9} \u{130}s", adding: .none) == [16, 1])
    let raw = try tokenizer(
      #""clean_text":false,"handle_chinese_chars":false,"strip_accents":true,"lowercase":false"#)
    #expect(raw.encode("caf\u{E9} \u{4F60}\u{597D}", adding: .none) == [15, 1])
    #expect(raw.encode("o\u{200D}k ok\0 ok", adding: .none) == [1, 1, 20])
  }

  @Test("spaces come before words, but not before marks that follow them")
  func texts() throws {
    let tokenizer = try tokenizer(#""lowercase":true"#)
    func text(_ ids: [Int32]) -> String {
      String(decoding: tokenizer.bytes(of: ids), as: UTF8.self)
    }
    #expect(text([2, 5, 6, 7, 8, 3]) == "[CLS] the unaffable [SEP]")
    #expect(text([8, 9, 5]) == "##ableing the")
    #expect(text([5, 13, 14]) == "the.!")
    #expect(text([10, 11, 12]) == "don ' t")
    #expect(tokenizer.bytes(of: 9) == Array("ing".utf8))
    #expect(tokenizer.bytes(of: [2, 5, 3], leavingOutSpecial: true) == Array("the".utf8))
  }

  @Test("a decoder that Pleat does not know is refused by name")
  func decoders() throws {
    let error = #expect(throws: ModelError.self) {
      try tokenizer(#""lowercase":true"#, decoder: "CTC")
    }
    #expect(error?.kind == .unsupported)
    #expect((error?.tensor, error?.found) == ("decoder", "CTC"))
  }

  @Test("a list of words without settings is that of lowercase BERT")
  func list() throws {
    try scratch.write(Self.vocabulary.joined(separator: "\n"), as: "vocab.txt")
    let tokenizer = try Tokenizer.open(scratch.folder)
    #expect(tokenizer.encode("CAF\u{C9} ok") == [2, 15, 20, 3])
    #expect(tokenizer.bytes(of: [2, 6, 8]) == Array("[CLS] unable".utf8))
  }

  @Test("a GGUF file must state the tokens around a text")
  func llama() throws {
    func text(_ value: String) -> [UInt8] {
      withUnsafeBytes(of: UInt64(value.utf8.count).littleEndian) { Array($0) } + Array(value.utf8)
    }
    let tokens = ["[UNK]", "[CLS]", "[SEP]", "\u{2581}a"]
    var metadata = Metadata()
    metadata.append("tokenizer.ggml.model", .text("bert"))
    metadata.append(
      "tokenizer.ggml.tokens",
      .array(.init(elementType: .string, count: 4, bytes: tokens.flatMap(text))))
    metadata.append(
      "tokenizer.ggml.token_type",
      .array(
        .init(
          elementType: .i32, count: 4,
          bytes: [2, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0])))
    metadata.append("tokenizer.ggml.bos_token_id", .u32(1))
    metadata.append("tokenizer.ggml.unknown_token_id", .u32(0))
    let missing = #expect(throws: ModelError.self) { try TokenizerDefinition(metadata) }
    #expect(missing?.kind == .malformed)
    #expect(missing?.tensor == "tokenizer.ggml.seperator_token_id")
    metadata.append("tokenizer.ggml.seperator_token_id", .u32(2))
    #expect(try TokenizerDefinition(metadata).fast.algorithm == "WordPiece")
  }
}
