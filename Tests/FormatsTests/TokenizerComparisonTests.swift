import Bytes
import Formats
import TensorModel
import Testing

/// What a tokenizer beside an adapter states otherwise than that of its base.
@Suite struct TokenizerComparisonTests {
  private static let spoken: JSONValue = ["eos_token": "</s>", "pad_token": "<pad>"]

  private static func item(_ token: String) -> JSONValue {
    ["SpecialToken": ["id": .string(token), "type_id": 0]]
  }

  private static let (first, second): (JSONValue, JSONValue) = (
    ["Sequence": ["id": "A", "type_id": 0]], ["Sequence": ["type_id": 1, "id": "B"]]
  )

  private static func template(_ single: [JSONValue], _ pair: [JSONValue]) -> JSONValue {
    ["type": "TemplateProcessing", "single": .array(single), "pair": .array(pair)]
  }

  /// A tokenizer.json with members changed, beside a tokenizer_config.json.
  private static func files(
    _ changes: JSONValue = [:], _ config: JSONValue = spoken, splitting: JSONValue? = nil,
    _ others: (String, JSONValue)...
  ) -> SmallTokenizer {
    let json = SmallTokenizer.byteLevelJSON(
      splitting: splitting ?? SmallTokenizer.gpt2, changes: changes)
    let files = SmallTokenizer().with("tokenizer.json", json).with("tokenizer_config.json", config)
    return others.reduce(files) { $0.with($1.0, $1.1) }
  }

  private func differences(
    _ own: SmallTokenizer, _ base: SmallTokenizer
  ) throws(ModelError) -> [String] {
    try TokenizerComparison(of: own.reader, with: base.reader).differences
  }

  private static let llama: JSONValue = template(
    [item("<s>"), first], [item("<s>"), first, item("<s>"), second])
  private static let bert: JSONValue = template(
    [item("<s>"), first, item("<tool>")],
    [item("<s>"), first, item("<tool>"), second, item("<tool>")])
  private static let long: String =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"#
    + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  private static let short: String =
    #"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}"#
    + #"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"#

  /// A tokenizer, that of the base, and what differs.
  static let different: [(SmallTokenizer, SmallTokenizer, [String])] = [
    (files(splitting: SmallTokenizer.split(long)), files(), ["pre-tokenizer"]),
    (files(["post_processor": llama]), files(), ["post-processor"]),
    (files(["post_processor": llama]), files(["post_processor": bert]), ["post-processor"]),
    (
      files([:], ["add_bos_token": true, "add_eos_token": true]),
      files([:], ["add_bos_token": false]), ["add_bos_token", "add_eos_token"]
    ),
    (files([:], ["pad_token": "<tool>"]), files(), ["pad token"]),
    (files(), files([:], ["eos_token": "</s>"]), ["pad token"]),
    (
      files([:], ["bos_token": "<s>"]), files([:], ["bos_token": ["content": "<tool>"]]),
      ["bos token"]
    ),
    (
      SmallTokenizer().with("generation_config.json", ["eos_token_id": [7, 5]]),
      files([:], spoken, splitting: nil, ("config.json", ["eos_token_id": 7])),
      ["end-of-text token"]
    ),
  ]

  @Test("what changes the ids of texts differs", arguments: different)
  func differs(own: SmallTokenizer, base: SmallTokenizer, words: [String]) throws {
    // The base also has the special tokens that these tokenizers add, with the same ids.
    let tokens: JSONValue = [
      ["id": 258, "content": "<s>", "special": true],
      ["id": 259, "content": "<tool>", "special": false],
      ["id": 260, "content": "</s>", "special": true],
      ["id": 261, "content": "<pad>", "special": true],
    ]
    #expect(
      try differences(own.adding(tokens), base.adding(tokens)).filter { $0 != "tokenizer" } == words
    )
  }

  /// Two ways to write the same tokenizer.
  static let same: [(SmallTokenizer, SmallTokenizer)] = [
    (
      files(splitting: SmallTokenizer.split(long)), files(splitting: SmallTokenizer.split(short))
    ),
    (
      files(splitting: ["type": "Sequence", "pretokenizers": [SmallTokenizer.gpt2]]),
      files(
        splitting: [
          "use_regex": true, "trim_offsets": true, "add_prefix_space": false, "type": "ByteLevel",
        ])
    ),
    (
      files(["post_processor": ["type": "ByteLevel", "trim_offsets": false]]),
      files(["post_processor": .null])
    ),
    (files(["post_processor": template([first], [first, second])]), files()),
    (
      files([
        "post_processor": ["type": "Sequence", "processors": [["type": "ByteLevel"], llama]]
      ]), files(["post_processor": llama])
    ),
    (
      files([
        "post_processor": ["type": "BertProcessing", "sep": ["<tool>", 259], "cls": ["<s>", 258]]
      ]), files(["post_processor": bert])
    ),
    (
      files([:], ["pad_token": ["content": "<pad>"], "eos_token": "</s>", "add_eos_token": false]),
      files([:], ["add_bos_token": .null, "eos_token": "</s>", "pad_token": "<pad>"])
    ),
    (files([:], ["unk_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"]), files()),
    (
      files(),
      files([:], [:], splitting: nil, ("special_tokens_map.json", spoken))
    ),
    (
      SmallTokenizer().with("generation_config.json", ["eos_token_id": 7]),
      files([:], spoken, splitting: nil, ("config.json", ["text_config": ["eos_token_id": [7]]]))
    ),
  ]

  @Test("the same, written by another program, does not differ", arguments: same)
  func equal(own: SmallTokenizer, base: SmallTokenizer) throws {
    #expect(try differences(own, base) == [])
  }

  @Test("spaces that a normalizer or Metaspace marks are the same") func spaces() throws {
    let old: JSONValue = [
      "type": "Sequence",
      "normalizers": [
        ["type": "Prepend", "prepend": "▁"],
        ["type": "Replace", "pattern": ["String": " "], "content": "▁"],
      ],
    ]
    func metaspace(_ scheme: String) -> JSONValue {
      ["type": "Metaspace", "replacement": "▁", "prepend_scheme": .string(scheme), "split": false]
    }
    let base = Self.files(["normalizer": old], splitting: .null)
    #expect(try differences(Self.files(splitting: metaspace("always")), base) == [])
    #expect(
      try differences(Self.files(splitting: metaspace("never")), base) == ["pre-tokenizer"])
  }

  @Test("metadata of llama.cpp is compared in the same way") func metadata() throws {
    let base = Self.files(
      ["post_processor": Self.llama], ["bos_token": "<s>", "pad_token": "<tool>"])
    let metadata = try base().metadata
    func differences(_ own: SmallTokenizer) throws(ModelError) -> [String] {
      try TokenizerComparison(of: own.reader, with: metadata).differences
    }
    #expect(try differences(base) == [])
    #expect(
      try differences(Self.files([:], [:], splitting: SmallTokenizer.split(Self.long)))
        == ["pre-tokenizer"])
    let other = SmallTokenizer().with(
      "tokenizer_config.json", ["pad_token": "<s>", "add_bos_token": false])
    #expect(try differences(other) == ["add_bos_token", "pad token"])
    #expect(
      try differences(SmallTokenizer().with("generation_config.json", ["eos_token_id": 258]))
        == ["end-of-text token"])
  }
}

extension SmallTokenizer {
  /// A copy whose tokenizer.json, if there is one, has these added tokens.
  fileprivate func adding(_ tokens: JSONValue) throws -> SmallTokenizer {
    guard let bytes = files["tokenizer.json"],
      let members = try JSONParser.parse(bytes, file: "tokenizer.json").members
    else { return self }
    return with(
      "tokenizer.json",
      .object(members.map { $0.key == "added_tokens" ? .init($0.key, tokens) : $0 }))
  }
}
