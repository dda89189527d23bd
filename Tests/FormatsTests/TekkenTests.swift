import Architectures
import Bytes
import Formats
import TensorModel
import Testing

/// Vocabularies in tekken.json.
@Suite struct TekkenTests {
  private static let pattern: String = {
    let start = #"[^\r\n\p{L}\p{N}]?"#
    let (upper, lower) = (#"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#, #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#)
    return "\(start)\(upper)*\(lower)+|\(start)\(upper)+\(lower)*"
      + #"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }()

  /// The base 64 of `th`, `the`, `he`, whose parts are tokens in several ways.
  private static let longer = ["dGg=", "aGU=", "dGhl"]

  private static let vocabulary: [JSONValue] = {
    let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    let bytes = (0..<256).map { "\(letters[$0 >> 2])\(letters[($0 & 3) << 4])==" }
    return (bytes + longer).enumerated().map { rank, text in
      ["rank": JSONValue(rank), "token_bytes": .string(text), "token_str": .null]
    }
  }()

  private static let special: [JSONValue] = ["<unk>", "<s>", "</s>", "<pad>"].enumerated().map {
    ["rank": JSONValue($0), "token_str": .string($1), "is_control": true]
  }

  private static let config: JSONValue = [
    "pattern": .string(pattern), "default_vocab_size": 265, "default_num_special_tokens": 6,
    "version": "v11",
  ]

  private static func tokenizer(
    config: JSONValue = [:], vocabulary: [JSONValue] = vocabulary,
    special: JSONValue? = .array(special)
  ) -> SmallTokenizer {
    var members: [JSONValue.Member] = [
      .init("config", Self.config.overridden(by: config)), .init("vocab", .array(vocabulary)),
    ]
    if let special { members.append(.init("special_tokens", special)) }
    return SmallTokenizer().with("tekken.json", .object(members))
  }

  @Test("special tokens come first, and all pairs that make a token are merges")
  func tokens() throws {
    let result = try Self.tokenizer()()
    #expect(result.value("pre") == .text("tekken"))
    let texts = try result.texts("tokens")
    #expect(texts[0...6] == ["<unk>", "<s>", "</s>", "<pad>", "<SPECIAL_4>", "<SPECIAL_5>", "Ā"])
    #expect(texts[262...265] == ["th", "he", "the", "[PAD265]"])
    #expect(try result.texts("merges") == ["t h", "h e", "t he", "th e"])
    #expect(try result.words("token_type")[4...6] == [3, 3, 1])
    #expect(try result.words("scores") == Array(repeating: 0, count: 300))
    #expect(
      result.keys == [
        "model", "pre", "merges", "bos_token_id", "eos_token_id", "unknown_token_id",
        "padding_token_id", "tokens", "scores", "token_type", "add_bos_token", "add_eos_token",
      ])
    #expect(result.value("bos_token_id") == .u32(1) && result.value("padding_token_id") == .u32(3))
  }

  @Test("the model may have fewer tokens than the file")
  func fewer() throws {
    let texts = try Self.tokenizer(config: ["default_vocab_size": 263])().texts("tokens")
    #expect(texts[261...263] == ["ÿ", "th", "[PAD263]"])
  }

  @Test("old files have usual special tokens, and the version names the chat template")
  func versions() throws {
    let old: JSONValue = [
      "version": "v3", "default_num_special_tokens": 20, "default_vocab_size": 279,
    ]
    let result = try Self.tokenizer(config: old, special: nil)()
    #expect(try result.texts("tokens")[9...11] == ["[TOOL_CALLS]", "[IMG]", "<pad>"])
    #expect(result.metadata["tokenizer.chat_template"] == .text("mistral-v3-tekken"))
    let stated = try Self.tokenizer(config: ["version": "v7"])
      .with("chat_template.jinja", Array("x".utf8))()
    #expect(stated.metadata["tokenizer.chat_template"] == .text("x"))
    #expect(Self.tokenizer(special: .null).error().tensor == "special_tokens")
  }

  @Test(
    "numbers that contradict each other are refused",
    arguments: [
      ["default_vocab_size": 266], ["default_vocab_size": 6], ["default_vocab_size": -1],
      ["default_num_special_tokens": 3], ["default_num_special_tokens": 5],
      ["default_num_special_tokens": "6"],
    ] as [JSONValue])
  func counts(_ change: JSONValue) {
    let error = Self.tokenizer(config: change).error()
    #expect(error.kind == .malformed && error.tensor?.contains("default_vocab_size") == true)
  }

  @Test("damaged tokens are refused with their place")
  func damage() {
    func replaced(_ rank: Int, _ token: JSONValue) -> SmallTokenizer {
      var vocabulary = Self.vocabulary
      vocabulary[rank] = token
      return Self.tokenizer(vocabulary: vocabulary)
    }
    let cases: [(SmallTokenizer, String)] = [
      (replaced(256, ["rank": 1, "token_bytes": "dGg="]), "vocab 256"),
      (replaced(256, ["rank": 256, "token_bytes": "?"]), "vocab 256"),
      (replaced(256, ["rank": 256]), "vocab 256"),
      (replaced(3, ["rank": 3, "token_bytes": "dGg="]), "vocab 3"),
      (replaced(257, ["rank": 257, "token_bytes": "dGg="]), "vocab 257"),
      (Self.tokenizer(special: [["rank": 1, "token_str": "<s>"]]), "special_tokens 0"),
      (Self.tokenizer(special: [["rank": 0, "token_str": ""]]), "special_tokens 0"),
      (
        Self.tokenizer(special: .array(Self.special.map { _ in Self.special[0] })),
        "special_tokens 1"
      ),
      (
        Self.tokenizer(special: [["rank": 0, "token_str": "a"], ["rank": 1, "token_str": "a"]]),
        "special_tokens"
      ),
      (Self.tokenizer(config: ["pattern": .null]), "config.pattern"),
    ]
    for (tokenizer, place) in cases {
      let error = tokenizer.error()
      #expect(error.kind == .malformed && error.tensor == place)
    }
    #expect(Self.tokenizer(config: ["pattern": "x"]).error().kind == .unsupported)
  }
}
