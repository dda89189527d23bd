import Bytes
import Formats
import TensorModel
import TestSupport
import Testing

/// The modules of sentence-transformers and what llama.cpp does of them.
@Suite struct SentenceModuleTests {
  private static func module(_ path: String, _ type: String) -> JSONValue {
    ["path": .string(path), "type": .string("sentence_transformers.models.\(type)")]
  }

  private static let transformer = module("", "Transformer")

  /// The files of a model whose second module pools as `config` states.
  private static func files(
    pooling config: JSONValue, _ more: [JSONValue] = []
  ) -> SmallTokenizer {
    SmallTokenizer()
      .with("modules.json", .array([transformer, module("1_Pooling", "Pooling")] + more))
      .with("1_Pooling/config.json", config)
  }

  private func modules(_ files: SmallTokenizer) throws(ModelError) -> SentenceModules {
    try SentenceModules(files.reader)
  }

  /// The number in the metadata; nil if there is none.
  private func number(_ files: SmallTokenizer) throws -> Int? {
    try modules(files).metadata(of: "qwen3")["qwen3.pooling_type"]?.integer
  }

  @Test(
    "the pooling becomes llama.cpp's number",
    arguments: [
      (["pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false], 1),
      (["pooling_mode_cls_token": true], 2),
      (["pooling_mode_lasttoken": true, "pooling_mode_max_tokens": false], 3),
      (["pooling_mode": "mean"], 1), (["pooling_mode": "cls"], 2),
      (["pooling_mode": ["lasttoken"]], 3),
    ] as [(JSONValue, Int)])
  func known(config: JSONValue, number: Int) throws {
    let files = Self.files(pooling: config)
    #expect(try self.number(files) == number)
    #expect(try modules(files).notes == [])
  }

  @Test("lowercase letters that the tokenizer does not make are noted") func lowercase() throws {
    let files = Self.files(pooling: ["pooling_mode": "cls"])
    for isStated in [true, false] {
      let document: JSONValue = ["do_lower_case": .bool(isStated)]
      let notes = try modules(files.with("sentence_bert_config.json", document)).notes
      #expect(notes.count == (isStated ? 1 : 0))
    }
  }

  @Test(
    "a pooling that llama.cpp does not have is noted and left out",
    arguments: [
      (["pooling_mode_max_tokens": true], "max"),
      (["pooling_mode_weightedmean_tokens": true], "weightedmean"),
      (["pooling_mode_mean_sqrt_len_tokens": true], "mean_sqrt_len"),
      (["pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true], "mean and cls"),
      (["pooling_mode": "first"], "first"), ([:], "states no pooling"),
    ] as [(JSONValue, String)])
  func unknown(config: JSONValue, words: String) throws {
    let files = Self.files(pooling: config)
    #expect(try number(files) == nil)
    let notes = try modules(files).notes
    #expect(notes.count == 1 && notes[0].contains(words) && notes[0].contains("1_Pooling/config"))
  }

  @Test("other modules are noted, but not normalization") func otherModules() throws {
    let files = Self.files(
      pooling: ["pooling_mode_lasttoken": true],
      [
        Self.module("2_Dense", "Dense"), Self.module("3_Normalize", "Normalize"),
        Self.module("4_Pooling", "Pooling"), ["type": "own.Thing"],
      ])
    #expect(try number(files) == 3)
    #expect(
      try modules(files).notes == [
        "llama.cpp does not apply 2_Dense (Dense), a module of sentence-transformers",
        "llama.cpp does not apply 4_Pooling (Pooling), a module of sentence-transformers",
        "llama.cpp does not apply Thing, a module of sentence-transformers",
      ])
  }

  @Test("prompts are noted by their names, unless they are empty") func prompts() throws {
    let files = Self.files(pooling: ["pooling_mode": "mean"])
      .with(
        "config_sentence_transformers.json", ["prompts": ["query": "Find: ", "document": ""]])
    let notes = try modules(files).notes
    #expect(notes.count == 1 && notes[0].hasSuffix(": query"))
  }

  @Test("a model without modules states no pooling") func none() throws {
    #expect(try number(SmallTokenizer()) == nil)
    #expect(try modules(SmallTokenizer()).notes == [])
  }

  @Test("documents that are not JSON are malformed by their paths") func broken() throws {
    for name in ["modules.json", "1_Pooling/config.json"] {
      var files = Self.files(pooling: [:]).with(name, Array("[".utf8))
      files.folder = "e5"
      let error = Laws.error { () throws(ModelError) in try modules(files) }
      #expect(error?.kind == .malformed && error?.file == "e5/\(name)")
    }
  }
}
