import Bytes
import Formats
import TensorModel
import Testing

/// Special tokens, chat templates, and tokenizers that are missing or taken from another model.
@Suite struct TokenizerSpecialTests {
  private static func template(_ single: JSONValue...) -> JSONValue {
    ["type": "TemplateProcessing", "single": .array(single)]
  }

  private static func token(_ text: String) -> JSONValue {
    ["SpecialToken": ["id": .string(text), "type_id": 0]]
  }

  private static let text: JSONValue = ["Sequence": ["id": "A", "type_id": 0]]

  private static func tokenizer(_ processor: JSONValue, _ config: JSONValue) -> SmallTokenizer {
    SmallTokenizer().with(
      "tokenizer.json",
      SmallTokenizer.byteLevelJSON(
        changes: [
          "post_processor": processor,
          "added_tokens": [
            ["id": 258, "content": "<s>", "special": true],
            ["id": 259, "content": "</s>", "special": true],
            ["id": 260, "content": "<|im_end|>", "special": true],
          ],
        ])
    ).with("tokenizer_config.json", config)
  }

  @Test("special tokens around the text of a template are added, keys in converter order")
  func templates() throws {
    let processor = Self.template(Self.token("<s>"), Self.text)
    let sequence: JSONValue = [
      "type": "Sequence", "processors": [["type": "ByteLevel"], processor],
    ]
    let result = try Self.tokenizer(sequence, ["bos_token": "<s>", "eos_token": "</s>"])()
    #expect(
      result.keys.suffix(5) == [
        "merges", "bos_token_id", "eos_token_id", "add_bos_token", "add_eos_token",
      ])
    #expect(result.value("bos_token_id") == .u32(258) && result.value("eos_token_id") == .u32(259))
    #expect(result.value("add_bos_token") == .bool(true))
    #expect(result.value("add_eos_token") == .bool(false))
  }

  @Test("the template overrides the flags of tokenizer_config.json, which apply otherwise")
  func flags() throws {
    let config: JSONValue = [
      "bos_token": "<s>", "add_bos_token": false, "add_eos_token": true,
    ]
    let result = try Self.tokenizer(Self.template(Self.token("<s>"), Self.text), config)()
    #expect(result.value("add_bos_token") == .bool(true))
    #expect(result.value("add_eos_token") == .bool(true))
  }

  @Test("if template and config end texts differently, the token of the config ends turns")
  func endOfTurn() throws {
    let result = try Self.tokenizer(
      Self.template(Self.text, Self.token("</s>")), ["eos_token": "<|im_end|>"])()
    #expect(result.value("eos_token_id") == .u32(259))
    #expect(result.value("eot_token_id") == .u32(260))
    #expect(result.value("add_eos_token") == .bool(true))
  }

  @Test("a separator token is added if the template has it between two texts")
  func separators() throws {
    let second: JSONValue = ["Sequence": ["id": "B", "type_id": 1]]
    for (middle, isAdded) in [("</s>", true), ("<s>", false)] {
      let processor: JSONValue = [
        "type": "TemplateProcessing", "single": [Self.token("<s>"), Self.text],
        "pair": [Self.token("<s>"), Self.text, Self.token(middle), second],
      ]
      let result = try Self.tokenizer(processor, ["bos_token": "<s>", "sep_token": "</s>"])()
      #expect(result.value("add_sep_token") == .bool(isAdded))
    }
  }

  @Test("ids come from tokenizer_config.json, then config.json, then other files")
  func sources() throws {
    var tokenizer = Self.tokenizer(
      .null, ["bos_token": ["content": "<s>"], "pad_token": "the", "unk_token": .null])
    tokenizer.config = [
      "bos_token_id": 1, "eos_token_id": [259, 260], "unk_token_id": -1,
      "text_config": ["mask_token_id": 5, "sep_token_id": 300],
    ]
    tokenizer = tokenizer.with("generation_config.json", ["eos_token_id": [260, 259]])
      .with("special_tokens_map.json", ["sep_token": "</s>"])
    let result = try tokenizer()
    #expect(result.value("bos_token_id") == .u32(258))
    #expect(result.value("eos_token_id") == .u32(260))
    #expect(result.value("padding_token_id") == .u32(257))
    #expect(result.value("mask_token_id") == .u32(5))
    #expect(result.value("seperator_token_id") == .u32(259))
    #expect(result.value("unknown_token_id") == nil)
  }

  @Test(
    "ids in a list, and in the config of the text model, are read",
    arguments: [
      (["eos_token_id": [259, 260]], [:], 259), (["eos_token_id": [300, -1, 260]], [:], 260),
      (["thinker_config": ["text_config": ["eos_token_id": 258]]], [:], 258),
      (["llm_config": ["eos_token_id": [260]]], [:], 260),
      (["eos_token_id": [259, 260]], ["eos_token_id": [301, 258]], 258),
    ] as [(JSONValue, JSONValue, UInt32)])
  func lists(config: JSONValue, generation: JSONValue, id: UInt32) throws {
    var tokenizer = Self.tokenizer(.null, [:]).with("generation_config.json", generation)
    tokenizer.config = config
    #expect(try tokenizer().value("eos_token_id") == .u32(id))
  }

  @Test("a new end-of-text token replaces the old one in every part of a config")
  func replacement() throws {
    let tokenizer = Self.tokenizer(.null, [:])
    let end = try #require(try EndToken("<|im_end|>", in: tokenizer.reader))
    #expect(
      end.replacing(in: [
        "llm_config": ["eos_token_id": [258, 259]], "eos_token_id": 258,
        "other": ["eos_token_id": 7],
      ])
        == [
          "llm_config": ["eos_token_id": 260], "eos_token_id": 260, "other": ["eos_token_id": 7],
        ])
    let known: JSONValue = ["eos_token_id": [258, 260]]
    #expect(end.replacing(in: known) == known)
    #expect(end.adding(to: ["eos_token_id": 258]) == ["eos_token_id": [260, 258]])
    #expect(end.adding(to: ["top_k": 5]) == ["top_k": 5])
  }

  @Test("special tokens of SentencePiece have the ids of the trainer by default")
  func trainer() throws {
    // unk_id 2, bos_id 1, eos_id -1, pad_id 0: fields 40 to 43 of the trainer.
    let none: [UInt8] = Array(repeating: 0xFF, count: 9) + [1]
    let trainer: [UInt8] =
      [0x18, 2, 0xC0, 2, 2, 0xC8, 2, 1, 0xD0, 2] + none + [0xD8, 2, 0]
    let result = try SmallTokenizer().with(
      "tokenizer.model", SmallTokenizer.sentencePieceBytes(trainer: trainer))()
    #expect(result.value("unknown_token_id") == .u32(2))
    #expect(result.value("bos_token_id") == .u32(1))
    #expect(result.value("eos_token_id") == nil)
    #expect(result.value("padding_token_id") == .u32(0))
  }

  @Test("of many chat templates, the last text of each name is used") func manyChats() throws {
    let choices = (0..<60_000).map { number -> JSONValue in
      ["name": .string("n\(number % 50_000)"), "template": .string("\(number)")]
    }
    let result = try SmallTokenizer.byteLevel.with(
      "tokenizer_config.json", ["chat_template": .array(choices)])()
    let templates = result.metadata.entries.filter { $0.key.hasPrefix("tokenizer.chat_template.") }
    let expected = (0..<50_000).map { MetadataValue.text("\($0 < 10_000 ? $0 + 50_000 : $0)") }
    #expect(templates.map(\.value) == expected)
  }

  @Test("tokens that strip spaces are noted")
  func particular() throws {
    let json = SmallTokenizer.byteLevelJSON(
      changes: ["added_tokens": [["id": 258, "content": "<s>", "special": true, "rstrip": true]]])
    let notes = try SmallTokenizer().with("tokenizer.json", json)().notes
    #expect(notes.count == 1 && notes[0].contains("1 added token takes"))
  }

  @Test("a model without a usable tokenizer is refused with what was found and a hint")
  func nothing() {
    for (name, word) in [
      ("vocab.txt", "WordPiece"), ("spiece.model", "T5"), ("vocab.json", "without"),
      ("none", "no file"),
    ] {
      let error = SmallTokenizer().with(name, Array("{}".utf8)).error()
      #expect(error.kind == .unsupported && error.found?.contains(word) == true)
      #expect(error.hint?.contains("--tokenizer-from") == true)
    }
    let error = SmallTokenizer.byteLevel.with("added_tokens.json", ["<x>": "7"]).error()
    #expect(error.kind == .malformed && error.tensor == "<x>")
    #expect(SmallTokenizer.byteLevel.with("special_tokens_map.json", []).error().kind == .malformed)
  }

  @Test("an embedding with too many rows is refused before padding")
  func rows() {
    var tokenizer = SmallTokenizer.byteLevel
    tokenizer.tokenCount = 1 << 40
    #expect(tokenizer.error().kind == .limit)
  }

  @Test("the tokenizer of another model is copied if the number of tokens matches")
  func donors() throws {
    let taken = try SmallTokenizer.byteLevel.with("tokenizer_config.json", ["chat_template": "x"])()
    var donor = Metadata()
    donor.append("general.architecture", .text("llama"))
    for entry in taken.metadata.entries { donor.append(entry.key, entry.value) }
    let result = try GGUFTokenizer(donor: donor, path: "d.gguf", tokenCount: 300)
    #expect(result.metadata == taken.metadata)
    func error(_ donor: Metadata) -> ModelError? {
      do throws(ModelError) {
        _ = try GGUFTokenizer(donor: donor, path: "d.gguf", tokenCount: 299)
        return nil
      } catch {
        return error
      }
    }
    let mismatch = error(donor)
    #expect(mismatch?.kind == .mismatch && mismatch?.found == "300")
    #expect(mismatch?.expected?.contains("299") == true && mismatch?.file == "d.gguf")
    #expect(error(Metadata())?.kind == .unsupported)
  }
}
