import Pleat
import TestSupport
import Testing

/// Changes of metadata, without files.
@Suite struct MetadataChangesTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static func array(_ texts: [String]) -> MetadataValue {
    let bytes = texts.flatMap { Numbers.little(UInt64($0.utf8.count)) + Array($0.utf8) }
    return .array(MetadataArray(elementType: .string, count: texts.count, bytes: bytes))
  }

  /// The metadata of a model with the tokens `<pad>`, `7`, `<|end|>`, `ä`, and twice `dup`.
  private static var metadata: Metadata {
    var metadata = Metadata()
    metadata["general.architecture"] = .text("qwen2")
    metadata["general.name"] = .text("before")
    metadata["general.tags"] = array(["chat"])
    metadata["qwen2.context_length"] = .u32(4096)
    metadata["qwen2.rope.freq_base"] = .float(10_000)
    metadata["own:key"] = .text("a")
    metadata["tokenizer.ggml.tokens"] = array(["<pad>", "7", "<|end|>", "ä", "dup", "dup"])
    metadata["tokenizer.ggml.eos_token_id"] = .u32(0)
    metadata["tokenizer.ggml.padding_token_id"] = .signed(0, .i32)
    metadata["tokenizer.ggml.add_bos_token"] = .bool(false)
    for (key, value) in [
      ("i8", MetadataValue.signed(1, .i8)), ("u64", .unsigned(1, .u64)), ("f64", .double(1)),
      ("i64", .signed(1, .i64)), ("u8", .unsigned(1, .u8)),
    ] {
      metadata["small.\(key)"] = value
    }
    return metadata
  }

  private static func changes(isTyped: Bool = true) -> MetadataChanges {
    MetadataChanges(of: metadata, isTyped: isTyped)
  }

  // MARK: - Setting

  static let existing: [(String, MetadataValue)] = [
    ("general.name=a=b:c", .text("a=b:c")), ("general.name=", .text("")),
    ("general.name=12", .text("12")), ("own:key=b", .text("b")),
    ("qwen2.context_length=4294967295", .u32(.max)), ("qwen2.rope.freq_base=1e6", .float(1e6)),
    ("small.i8=-128", .signed(-128, .i8)), ("small.u8=255", .unsigned(255, .u8)),
    ("small.u64=18446744073709551615", .unsigned(.max, .u64)),
    ("small.i64=-9223372036854775808", .signed(.min, .i64)), ("small.f64=0.1", .double(0.1)),
    ("tokenizer.ggml.add_bos_token=true", .bool(true)),
    ("tokenizer.ggml.eos_token_id=<|end|>", .u32(2)), ("tokenizer.ggml.eos_token_id=5", .u32(5)),
    ("tokenizer.ggml.eos_token_id=ä", .u32(3)),
    ("tokenizer.ggml.padding_token_id=<|end|>", .signed(2, .i32)),
  ]

  @Test("an existing key keeps its type and its place", arguments: existing)
  func keptTypes(assignment: String, value: MetadataValue) throws {
    var changes = Self.changes()
    try changes.set(assignment)
    let change = try #require(changes.changes.first)
    #expect(change.new == value && change.old == Self.metadata[change.key])
    #expect(changes.notes.isEmpty)
    let result = changes.applied(to: Self.metadata)
    #expect(result.entries.map(\.key) == Self.metadata.entries.map(\.key))
    for entry in result.entries {
      #expect(entry.value == (entry.key == change.key ? value : Self.metadata[entry.key]))
    }
  }

  static let added: [(String, String, MetadataValue)] = [
    ("qwen2.attention.sliding_window=512", "qwen2.attention.sliding_window", .u32(512)),
    ("qwen2.rope.scaling.finetuned=true", "qwen2.rope.scaling.finetuned", .bool(true)),
    ("general.sampling.top_k=-1", "general.sampling.top_k", .signed(-1, .i32)),
    ("general.sampling.top_p=0.5", "general.sampling.top_p", .float(0.5)),
    ("general.version=2", "general.version", .text("2")),
    ("general.base_model.0.name=7", "general.base_model.0.name", .text("7")),
    ("tokenizer.chat_template.rag=1", "tokenizer.chat_template.rag", .text("1")),
    ("tokenizer.ggml.eot_token_id=<|end|>", "tokenizer.ggml.eot_token_id", .u32(2)),
    ("own.note=x:y", "own.note", .text("x:y")), ("own.note:i16=-5", "own.note", .signed(-5, .i16)),
    ("own.note:string=7", "own.note", .text("7")), ("own.note:f64=7", "own.note", .double(7)),
  ]

  @Test("a new key gets llama.cpp's type or the named one, at the end", arguments: added)
  func newTypes(assignment: String, key: String, value: MetadataValue) throws {
    var changes = Self.changes()
    try changes.set(assignment)
    #expect(changes.changes.map(\.key) == [key] && changes.changes[0].old == nil)
    #expect(changes.changes[0].new == value)
    #expect(changes.applied(to: Self.metadata).entries.last == .init(key: key, value: value))
  }

  @Test("a named type replaces that of an existing key, with a note") func retyped() throws {
    var changes = Self.changes()
    try changes.set("qwen2.context_length:u64=8")
    #expect(changes.changes.map(\.new) == [.unsigned(8, .u64)])
    #expect(changes.notes == ["qwen2.context_length was u32 and becomes u64"])
  }

  @Test("a value that is set already is noted and is no change") func noChange() throws {
    var changes = Self.changes()
    try changes.set("general.name=before")
    #expect(changes.changes.isEmpty)
    #expect(changes.notes == ["general.name has this value already"])
  }

  @Test("the ids of tokens are shown with their texts") func tokenTexts() {
    let changes = Self.changes()
    #expect(changes.token(.u32(2), of: "tokenizer.ggml.eos_token_id") == "<|end|>")
    #expect(changes.token(.u32(6), of: "tokenizer.ggml.eos_token_id") == nil)
    #expect(changes.token(.u32(2), of: "qwen2.context_length") == nil)
    #expect(changes.token(nil, of: "tokenizer.ggml.eos_token_id") == nil)
  }

  // MARK: - Refusals

  static let refusals: [(String, String, String?)] = [
    ("general.name", "a change needs a key and a value", nil), ("=a", "the key is empty", nil),
    ("small.u8=256", "the value does not fit the type u8", nil),
    ("small.u8=-1", "the value does not fit the type u8", nil),
    ("small.i8=128", "the value does not fit the type i8", nil),
    ("qwen2.context_length=4294967296", "the value does not fit the type u32", nil),
    ("qwen2.context_length=1.5", "the value does not fit the type u32", nil),
    ("qwen2.context_length=", "the value does not fit the type u32", nil),
    ("small.u64=18446744073709551616", "the value does not fit the type u64", nil),
    ("qwen2.rope.freq_base=1e39", "the value does not fit the type f32", nil),
    ("small.f64=nan", "the value does not fit the type f64", nil),
    ("tokenizer.ggml.add_bos_token=1", "the value does not fit the type bool", nil),
    ("general.tags=a", "an array cannot be set", "--remove general.tags removes it"),
    ("own.list:array=a", "an array cannot be set", nil),
    ("own.note:u33=1", "unknown type 'u33'", nil),
    (
      "tokenizer.ggml.eos_token_id=<|ent|>", "the vocabulary has no such token",
      "did you mean <|end|>?"
    ),
    ("tokenizer.ggml.eos_token_id=6", "no token has this id", nil),
    ("tokenizer.ggml.eos_token_id=-1", "no token has this id", nil),
    ("tokenizer.ggml.eos_token_id=dup", "several tokens have this text", nil),
    (
      "qwen2.contxt_length=8", "the model does not have the key, and llama.cpp does not know it",
      "to add the key, name its type: --set qwen2.contxt_length:u32=…"
    ),
    (
      "eos_token_id=x", "the model does not have the key, and llama.cpp does not know it",
      "to add the key, name its type: --set eos_token_id:string=…"
    ),
    (
      "own.number=-2.5", "the model does not have the key, and llama.cpp does not know it",
      "to add the key, name its type: --set own.number:f32=…"
    ),
  ]

  @Test("a change that would be a mistake is refused", arguments: refusals)
  func refused(assignment: String, what: String, hint: String?) {
    var changes = Self.changes()
    let error = Laws.error { () throws(ModelError) in try changes.set(assignment) }
    #expect(error?.kind == .usage && error?.what == what && error?.hint == hint)
    #expect(changes.changes.isEmpty)
  }

  @Test("a misspelled key names the key that was meant") func nearKeys() {
    for (assignment, name) in [
      ("qwen2.contxt_length=8", "qwen2.context_length"),
      ("eos_token_id=2", "tokenizer.ggml.eos_token_id"), ("general.nmae=x", "general.name"),
    ] {
      var changes = Self.changes()
      let error = Laws.error { () throws(ModelError) in try changes.set(assignment) }
      #expect(error?.expected?.hasPrefix(name) == true, "\(assignment)")
    }
  }

  static let keptKeys = [
    "general.architecture", "general.alignment", "split.count", "split.no",
    "tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.merges",
    "tokenizer.ggml.token_type", "pleat.history",
  ]

  @Test("keys that say what and where the tensors are cannot be changed", arguments: keptKeys)
  func protectedKeys(key: String) {
    var changes = Self.changes()
    for error in [
      Laws.error { () throws(ModelError) in try changes.set("\(key)=1") },
      Laws.error { () throws(ModelError) in try changes.set("\(key):u32=1") },
      Laws.error { () throws(ModelError) in try changes.remove(key) },
    ] {
      #expect(error?.kind == .usage && error?.tensor == key)
      #expect(error?.what.hasPrefix("the key cannot be changed: ") == true)
    }
  }

  // MARK: - Removing

  @Test("a removed key is gone; an absent one is an error that names the nearest") func removal()
    throws
  {
    var changes = Self.changes()
    try changes.remove("general.tags")
    #expect(changes.changes.map(\.new) == [nil])
    #expect(changes.applied(to: Self.metadata)["general.tags"] == nil)
    let error = Laws.error { () throws(ModelError) in try changes.remove("general.nam") }
    #expect(error?.kind == .usage && error?.what == "the metadata has no such key")
    #expect(error?.hint?.hasPrefix("did you mean general.name") == true)
  }

  @Test("a key cannot be changed twice") func twice() throws {
    var changes = Self.changes()
    try changes.set("general.name=x")
    for error in [
      Laws.error { () throws(ModelError) in try changes.set("general.name=y") },
      Laws.error { () throws(ModelError) in try changes.remove("general.name") },
    ] {
      #expect(error?.kind == .usage && error?.what == "the key is changed twice")
    }
  }

  // MARK: - Text metadata and chat templates

  @Test("metadata of safetensors files is text, and `format` stays") func textOnly() throws {
    var changes = Self.changes(isTyped: false)
    try changes.set("qwen2.number=8")
    try changes.set("tag:u=1")
    try changes.set("b:string=2")
    #expect(changes.changes.map(\.key) == ["qwen2.number", "tag:u", "b"])
    #expect(changes.changes.map(\.new) == [.text("8"), .text("1"), .text("2")])
    let typed = Laws.error { () throws(ModelError) in try changes.set("c:u32=1") }
    #expect(typed?.kind == .usage && typed?.found == "u32")
    let format = Laws.error { () throws(ModelError) in try changes.remove("format") }
    #expect(format?.what.hasPrefix("the key cannot be changed: ") == true)
    let path = try scratch.write("{{ x }}", as: "a.jinja")
    let template = Laws.error { () throws(ModelError) in
      try changes.setChatTemplate(fromFile: path)
    }
    #expect(template?.kind == .unsupported)
  }

  static let templates: [(String, String, [String: String?])] = [
    (
      "t.jinja", "{% x %}\n", ["": "{% x %}\n", ".tool": nil, "s": nil]
    ),
    (
      "tokenizer_config.json", #"{"chat_template": "{{ a }}"}"#,
      ["": "{{ a }}", ".tool": nil, "s": nil]
    ),
    (
      "chat_template.json",
      #"{"chat_template": [{"name": "default", "template": "D"}, {"name": "tool", "template": "T"}]}"#,
      ["": "D", ".tool": "T"]
    ),
  ]

  @Test("a file with chat templates replaces all old ones", arguments: templates)
  func chatTemplate(name: String, text: String, expected: [String: String?]) throws {
    let key = "tokenizer.chat_template"
    var metadata = Self.metadata
    metadata[key] = .text("old")
    metadata[key + ".tool"] = .text("old tool")
    metadata[key + "s"] = Self.array(["tool"])
    var changes = MetadataChanges(of: metadata, isTyped: true)
    try changes.setChatTemplate(fromFile: try scratch.write(text, as: name))
    let result = changes.applied(to: metadata)
    for (suffix, value) in expected { #expect(result[key + suffix]?.text == value, "\(suffix)") }
    if expected[".tool"] == "T" { #expect(result[key + "s"] == Self.array(["tool"])) }
    let others = { (entry: Metadata.Entry) in !entry.key.hasPrefix(key) }
    #expect(result.entries.filter(others) == Self.metadata.entries)
  }

  @Test(
    "a file without a chat template is malformed",
    arguments: [
      ("a.json", "{}"), ("b.json", "["), ("c.json", #"{"chat_template": [{"name": "default"}]}"#),
      ("d.json", #"{"chat_template": 3}"#), ("e.jinja", ""),
    ])
  func badTemplates(name: String, text: String) throws {
    let path = try scratch.write(text, as: name)
    var changes = Self.changes()
    let error = Laws.error { () throws(ModelError) in try changes.setChatTemplate(fromFile: path) }
    #expect(error?.kind == .malformed && error?.file == path)
  }
}
