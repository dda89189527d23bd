import Bytes
import Formats
import TensorModel
import Testing

/// Which chat templates a model has, and what GGUF stores of them.
///
/// The expectations are those of AutoTokenizer in transformers 5.23.
@Suite struct ChatTemplateTests {
  private static let key = "tokenizer.chat_template"
  private static let none = SmallTokenizer.byteLevel

  /// A tokenizer with templates in files: `chat_template.jinja` has an empty name.
  private static func files(
    _ texts: [String: String], config: JSONValue = [:]
  ) -> SmallTokenizer {
    var tokenizer = none.with("tokenizer_config.json", config)
    for (name, text) in texts {
      let path =
        name.isEmpty ? "chat_template.jinja" : "additional_chat_templates/\(name).jinja"
      tokenizer = tokenizer.with(path, Array(text.utf8))
    }
    return tokenizer
  }

  /// The keys of templates after `tokenizer.`, each with its text.
  private func templates(_ tokenizer: SmallTokenizer) throws -> [String: String] {
    var found: [String: String] = [:]
    for entry in try tokenizer().metadata.entries where entry.key.hasPrefix(Self.key) {
      if let text = entry.value.text { found[String(entry.key.dropFirst(10))] = text }
    }
    return found
  }

  /// A tokenizer, the templates of its GGUF, and the number of notes.
  static let sources: [(String, SmallTokenizer, [String: String], Int)] = [
    ("nothing", none, [:], 0),
    ("a text in the config", files([:], config: ["chat_template": "C"]), ["chat_template": "C"], 0),
    ("a file", files(["": "J"]), ["chat_template": "J"], 0),
    (
      "a file before a text in the config", files(["": "J"], config: ["chat_template": "C"]),
      ["chat_template": "J"], 1
    ),
    (
      "the same text in both", files(["": "J"], config: ["chat_template": "J"]),
      ["chat_template": "J"], 0
    ),
    ("null", files([:], config: ["chat_template": .null]), [:], 0),
    (
      "null and a file", files(["": "J"], config: ["chat_template": .null]),
      ["chat_template": "J"], 0
    ),
    (
      "a file and named files", files(["": "J", "rag": "R", "tool_use": "T"]),
      ["chat_template": "J", "chat_template.rag": "R", "chat_template.tool_use": "T"], 0
    ),
    ("named files only", files(["tool_use": "T"]), ["chat_template.tool_use": "T"], 1),
    (
      "named files before a text in the config",
      files(["tool_use": "T"], config: ["chat_template": "C"]),
      ["chat_template.tool_use": "T"], 2
    ),
    (
      "a named default before the file", files(["": "J", "default": "D"]), ["chat_template": "D"], 0
    ),
    (
      "an object in the config",
      files([:], config: ["chat_template": ["default": "D", "rag": "R"]]),
      ["chat_template": "D", "chat_template.rag": "R"], 0
    ),
    (
      "a list in the config, whose last text of a name counts",
      files(
        [:],
        config: [
          "chat_template": [
            ["name": "default", "template": "1"], ["name": "rag", "template": "R"],
            ["name": "default", "template": "2"],
          ]
        ]), ["chat_template": "2", "chat_template.rag": "R"], 0
    ),
    (
      "entries without a name or a text",
      files(
        [:],
        config: [
          "chat_template": [
            ["template": "1"], ["name": "x"], ["name": "default", "template": "D"],
          ]
        ]), ["chat_template": "D"], 1
    ),
    (
      "the old file", none.with("chat_template.json", ["chat_template": "S"]),
      ["chat_template": "S"], 0
    ),
    (
      "the old file after the config",
      files([:], config: ["chat_template": "C"])
        .with("chat_template.json", ["chat_template": "S"]), ["chat_template": "C"], 1
    ),
    (
      "names that become one key", files(["tool use": "1", "tool_use": "2", "": "J"]),
      ["chat_template": "J", "chat_template.tool_use": "1"], 1
    ),
  ]

  @Test("templates come from the places of transformers", arguments: sources.map(\.0))
  func order(name: String) throws {
    let (_, tokenizer, expected, count) = try #require(Self.sources.first { $0.0 == name })
    #expect(try templates(tokenizer) == expected)
    #expect(try tokenizer().notes.count == count)
  }

  @Test("a note names what is left out, and what comes before it") func overridden() throws {
    let notes = try Self.files(["": "J"], config: ["chat_template": "C"])().notes
    #expect(notes.first?.contains("tokenizer_config.json is left out: chat_template.jinja") == true)
    let named = try Self.files(["a": "1", "b": "2", "c": "3", "d": "4"])().notes
    #expect(named == ["no chat template is the default one: there are a, b, c and 1 more"])
  }

  @Test("named templates are listed before the default one") func metadataOrder() throws {
    let metadata = try Self.files(["": "J", "b": "2", "a": "1"])().metadata
    #expect(
      metadata.entries.suffix(4).map(\.key) == [
        Self.key + ".a", Self.key + ".b", Self.key + "s", Self.key,
      ])
  }

  @Test("a template that is not UTF-8 is malformed, by its path")
  func encoding() {
    var tokenizer = Self.none.with("additional_chat_templates/x.jinja", [0xC3])
    tokenizer.folder = "some/model"
    let error = tokenizer.error()
    #expect(error.kind == .malformed)
    #expect(error.file == "some/model/additional_chat_templates/x.jinja")
  }

  @Test(
    "errors about the files of a tokenizer name their paths",
    arguments: [
      "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
      "generation_config.json", "chat_template.json",
    ])
  func paths(name: String) {
    var tokenizer = Self.none.with(name, Array("{".utf8))
    tokenizer.folder = "m"
    #expect(tokenizer.error().file == "m/\(name)")
  }
}
