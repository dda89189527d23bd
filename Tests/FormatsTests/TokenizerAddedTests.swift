import Bytes
import Formats
import TensorModel
import Testing

/// Added tokens of tokenizer.json and of the files beside it, which get ids as in transformers.
@Suite struct TokenizerAddedTests {
  private static func configured(_ members: JSONValue...) -> JSONValue {
    .object(members.enumerated().map { .init("\(270 - $0.offset)", $0.element) })
  }

  private static let decoder = configured(
    ["content": "<late>", "special": false], ["content": "<early>", "special": true],
    ["content": "<s>", "special": true], ["content": "the", "special": false])

  @Test("tokens of tokenizer_config.json get the next ids, then special tokens without one")
  func configured() throws {
    let result = try SmallTokenizer.byteLevel.with(
      "tokenizer_config.json",
      [
        "added_tokens_decoder": Self.decoder, "eos_token": "<none>", "pad_token": "th",
        "additional_special_tokens": ["<more>", "<early>"],
      ])()
    #expect(
      try result.texts("tokens")[256...264] == [
        "th", "the", "<s>", "<tool>", "<early>", "<late>", "<none>", "<more>", "[PAD264]",
      ])
    #expect(try result.words("token_type")[256...264] == [3, 4, 3, 4, 3, 4, 3, 3, 5])
    #expect(result.value("eos_token_id") == .u32(262))
    #expect(
      result.notes == [
        "added tokens get the next ids, as in transformers, whatever tokenizer_config.json states: "
          + "<early> 260, not 269, and 1 more"
      ])
  }

  @Test("added_tokens.json counts only if tokenizer_config.json lists no tokens")
  func listed() throws {
    let tokenizer = SmallTokenizer.byteLevel.with("added_tokens.json", ["<x>": 261, "<w>": 260])
      .with("special_tokens_map.json", ["sep_token": ["content": "<x>"]])
    let result = try tokenizer()
    #expect(try result.texts("tokens")[259...262] == ["<tool>", "<w>", "<x>", "[PAD262]"])
    #expect(try result.words("token_type")[260...261] == [4, 3])
    #expect(result.notes == [])
    let other = try tokenizer.with("tokenizer_config.json", ["added_tokens_decoder": [:]])()
    #expect(try other.texts("tokens")[260] == "[PAD260]")
  }

  @Test("an added token whose id leaves a gap gets the next id, with a note")
  func gap() throws {
    let json = SmallTokenizer.byteLevelJSON(
      changes: [
        "added_tokens": [
          ["id": 263, "content": "</s>", "special": true], ["id": 258, "content": "<s>"],
        ]
      ])
    let result = try SmallTokenizer().with("tokenizer.json", json)
      .with("tokenizer_config.json", ["eos_token": "</s>"])()
    #expect(try result.texts("tokens")[258...260] == ["<s>", "</s>", "[PAD260]"])
    #expect(result.value("eos_token_id") == .u32(259))
    #expect(result.notes.count == 1 && result.notes[0].hasSuffix("states: </s> 259, not 263"))
  }

  @Test("tokens of other files beyond the embedding are left out with a note")
  func beyond() throws {
    var tokenizer = SmallTokenizer.byteLevel.with(
      "tokenizer_config.json", ["added_tokens_decoder": ["260": ["content": "<x>"]]])
    tokenizer.tokenCount = 260
    #expect(
      try tokenizer().notes == ["left out 1 added token beyond the 260 rows of the embedding"])
  }
}
