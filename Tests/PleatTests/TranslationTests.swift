import Architectures
import Bytes
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Conversions of Hugging Face checkpoints to GGUF.
///
/// The interop tests check that llama.cpp runs the output.
@Suite struct TranslationTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let layer = [
    ("input_layernorm", [64]), ("post_attention_layernorm", [64]),
    ("self_attn.q_proj", [64, 64]), ("self_attn.k_proj", [32, 64]),
    ("self_attn.v_proj", [32, 64]), ("self_attn.o_proj", [64, 64]),
    ("mlp.gate_proj", [96, 64]), ("mlp.up_proj", [96, 64]), ("mlp.down_proj", [64, 96]),
  ]

  private static let config: [JSONValue.Member] = [
    .init("model_type", "llama"), .init("hidden_size", 64), .init("num_hidden_layers", 1),
    .init("intermediate_size", 96), .init("max_position_embeddings", 512),
    .init("num_attention_heads", 4), .init("num_key_value_heads", 2),
    .init("rms_norm_eps", .number(1e-5)), .init("vocab_size", 40), .init("eos_token_id", 2),
  ]

  private static let tokenizer = """
    {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
     "decoder": {"type": "ByteLevel"}, "normalizer": null, "added_tokens": [],
     "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}
    """

  private static var tensors: [(String, [Int])] {
    [("model.embed_tokens.weight", [40, 64]), ("model.norm.weight", [64])]
      + layer.map { ("model.layers.0.\($0.0).weight", $0.1) }
  }

  /// A checkpoint with changed config keys, without some tensors, and with further ones.
  private func checkpoint(
    _ changes: [JSONValue.Member] = [], without: Set<String> = [],
    adding: [(String, [Int])] = [], type: ScalarType = .bf16
  ) throws -> Model {
    let toys = (Self.tensors.filter { !without.contains($0.0) } + adding).enumerated().map {
      Toy($0.element.0, type, $0.element.1, seed: UInt64($0.offset))
    }
    let keys = Set(changes.map(\.key))
    let members = Self.config.filter { !keys.contains($0.key) } + changes
    try scratch.write(JSONWriter.text(.object(members)), as: "hf/config.json")
    try scratch.write(Self.tokenizer, as: "hf/tokenizer.json")
    _ = try Models.make(toys, in: scratch, as: "hf/model.safetensors")
    return try Model.open(scratch.path("hf"))
  }

  private func plan(_ model: Model) throws(ModelError) -> Plan {
    try Plan.converting(
      model, to: Destination(path: scratch.path("out.gguf"), format: .gguf))
  }

  private func refusal(_ model: Model) throws -> ModelError {
    try #require(Laws.error { () throws(ModelError) in try plan(model) })
  }

  @Test("tensors get the names of llama.cpp, norms become F32, matrices keep their type")
  func names() throws {
    let plan = try plan(try checkpoint())
    let targets = plan.jobs.map(\.target)
    #expect(
      targets.map(\.name).prefix(3) == [
        "token_embd.weight", "output_norm.weight", "blk.0.attn_norm.weight",
      ])
    for target in targets {
      #expect(target.encoding == .plain(target.shape.rank == 1 ? .f32 : .bf16))
    }
  }

  @Test(
    "the output equals the checkpoint after reordering rows", arguments: [ScalarType.f16, .f32])
  func verified(type: ScalarType) throws {
    let model = try checkpoint(type: type)
    try Run(try plan(model))()
    let found = try Verification(
      of: try Model.open(scratch.path("out.gguf")), against: model, tolerance: 0)
    #expect(found.holds)
    #expect(found.comparisons?.count == Self.tensors.count)
    // With other head counts the rows are in another order, so the same check fails.
    let other = try checkpoint([.init("num_attention_heads", 2), .init("num_key_value_heads", 1)])
    let wrong = try Verification(
      of: try Model.open(scratch.path("out.gguf")), against: other, tolerance: 0)
    #expect(!wrong.isFaithful)
  }

  @Test("an unknown architecture is refused with the list of known ones")
  func unknownArchitecture() throws {
    let error = try refusal(try checkpoint([.init("model_type", "mamba")]))
    #expect(error.kind == .unsupported && error.found == "model_type mamba")
    for name in Architectures.all.flatMap(\.modelTypes) {
      #expect(error.expected?.contains(name) == true)
    }
  }

  @Test("a tensor without a llama.cpp name is refused by name") func unknownTensor() throws {
    let name = "model.layers.0.self_attn.rotary.weight"
    let error = try refusal(try checkpoint(adding: [(name, [4])]))
    #expect(error.kind == .unsupported && error.tensor == name)
  }

  @Test("a tensor that the config requires and the file lacks is malformed by name")
  func missing() throws {
    let name = "model.layers.0.mlp.up_proj.weight"
    let error = try refusal(try checkpoint(without: [name]))
    #expect(error.kind == .malformed && error.tensor == name)
  }

  /// Config keys with invalid values; only a number that is not a count may be negative.
  static let invalidMembers = Every.pair(
    of: ["hidden_size", "num_hidden_layers", "num_attention_heads", "rms_norm_eps"],
    [JSONValue.null, "many", -1]
  ).filter { $0 != "rms_norm_eps" || $1 != -1 }

  @Test("there are 11 invalid members of a config") func presence() {
    #expect(Self.invalidMembers.count == 11)
  }

  @Test("a missing or invalid config key is malformed by name", arguments: invalidMembers)
  func incomplete(key: String, value: JSONValue) throws {
    let error = try refusal(try checkpoint([.init(key, value)]))
    #expect(error.kind == .malformed && error.tensor == key)
  }

  /// Config keys that contradict the weights, and a tensor that shows it.
  static let contradictions: [(String, JSONValue, String)] = [
    ("hidden_size", 96, "model.embed_tokens.weight"),
    ("intermediate_size", 64, "model.layers.0.mlp.gate_proj.weight"),
    ("num_attention_heads", 8, "model.layers.0.self_attn.k_proj.weight"),
    ("num_key_value_heads", 4, "model.layers.0.self_attn.k_proj.weight"),
    ("head_dim", 32, "model.layers.0.self_attn.q_proj.weight"),
  ]

  @Test("sizes that contradict the tensors are malformed by tensor", arguments: contradictions)
  func contradiction(key: String, value: JSONValue, tensor: String) throws {
    let error = try refusal(try checkpoint([.init(key, value)]))
    #expect(error.kind == .malformed && error.tensor == tensor)
    #expect(error.expected?.contains("\u{d7}") == true)
  }

  @Test("a tensor of another size than the same one in other layers is malformed by name")
  func pruned() throws {
    let name = "model.layers.0.mlp.down_proj.weight"
    let error = try refusal(try checkpoint(without: [name], adding: [(name, [64, 80])]))
    #expect(error.kind == .malformed && error.tensor == name)
    #expect(error.expected == "64×96, hidden_size × intermediate_size" && error.found == "64×80")
  }

  @Test("layers beyond num_hidden_layers are malformed by name") func furtherLayers() throws {
    let name = "model.layers.1.self_attn.v_proj.weight"
    let error = try refusal(try checkpoint(adding: [(name, [32, 64])]))
    #expect(error.kind == .malformed && error.tensor == name && error.found == "layer 1")
  }

  @Test("a vocab_size that contradicts the embeddings gets a note, and the rows count")
  func vocabulary() throws {
    let plan = try plan(try checkpoint([.init("vocab_size", 52)]))
    #expect(plan.notes.contains { $0.contains("52") && $0.contains("40 rows") })
    try Run(plan)()
    let written = try Model.open(scratch.path("out.gguf"))
    #expect(written.catalog.metadata["llama.vocab_size"] == .u32(40))
  }

  @Test(
    "a model that predicts tokens needs a head unless its embeddings are the head",
    arguments: [
      (["tie_word_embeddings": false], false),
      (["tie_word_embeddings": false, "architectures": ["LlamaForCausalLM"]], false),
      (["tie_word_embeddings": false, "architectures": ["LlamaModel"]], true),
      (["tie_word_embeddings": true, "architectures": ["LlamaForCausalLM"]], true),
      (["architectures": ["LlamaForCausalLM"]], true),
    ] as [(JSONValue, Bool)])
  func head(changes: JSONValue, isAccepted: Bool) throws {
    let model = try checkpoint(changes.members ?? [])
    let error = Laws.error { () throws(ModelError) in try plan(model) }
    #expect((error == nil) == isAccepted)
    if let error { #expect(error.kind == .malformed && error.tensor == "lm_head.weight") }
    _ = try plan(
      try checkpoint(changes.members ?? [], adding: [("lm_head.weight", [40, 64])]))
  }

  @Test("a head for classification is refused as such") func classifier() throws {
    let error = try refusal(try checkpoint(adding: [("score.weight", [3, 64])]))
    #expect(error.kind == .unsupported && error.tensor == "score.weight")
    #expect(error.what.contains("classification"))
  }

  @Test(
    "names may have any prefix of a text model, or none",
    arguments: ["", "language_model.model.", "model.language_model.", "thinker.model."])
  func prefixes(prefix: String) throws {
    let names = Self.tensors.map(\.0)
    let renamed = Self.tensors.map { (prefix + $0.0.dropFirst("model.".count), $0.1) }
    let plan = try plan(try checkpoint(without: Set(names), adding: renamed))
    #expect(plan.jobs.map(\.target.name).contains("blk.0.ffn_down.weight"))
    let other = ("llm.layers.0.input_layernorm.weight", [64])
    let error = try refusal(try checkpoint(without: Set(names), adding: renamed + [other]))
    #expect(error.kind == .unsupported && error.found?.contains("llm.layers.0") == true)
    #expect(error.found?.contains(prefix + "embed_tokens.weight") == true)
  }

  @Test("the config of the text model counts, wherever it is") func nestedConfig() throws {
    for key in ["text_config", "llm_config", "language_config"] {
      let model = try checkpoint([
        .init("model_type", "larger"), .init("hidden_size", 9999),
        .init(key, ["model_type": "llama", "hidden_size": 64]),
      ])
      #expect(try plan(model).jobs.count == Self.tensors.count)
    }
    let thinker: JSONValue = ["text_config": ["model_type": "llama"]]
    let model = try checkpoint([.init("model_type", "larger"), .init("thinker_config", thinker)])
    #expect(try plan(model).jobs.count == Self.tensors.count)
    let error = try refusal(
      try checkpoint([
        .init("model_type", "paligemma"), .init("text_config", ["model_type": "llama"]),
      ]))
    #expect(error.kind == .unsupported && error.found == "model_type paligemma")
  }

  /// Values that llama.cpp does not compute in an architecture.
  static let refused: [(String, JSONValue)] = [
    ("hidden_act", "gelu"), ("partial_rotary_factor", .number(0.5)),
    ("per_layer_config", ["0": ["intermediate_size": 64]]),
    ("use_bidirectional_attention", true),
  ]

  @Test("what llama.cpp does not compute is unsupported, with its key", arguments: refused)
  func notComputed(key: String, value: JSONValue) throws {
    let error = try refusal(try checkpoint([.init(key, value)]))
    #expect(error.kind == .unsupported && error.tensor == key)
  }

  @Test(
    "a bias that config.json states must be there",
    arguments: [
      ("attention_bias", "model.layers.0.self_attn.q_proj.bias"),
      ("mlp_bias", "model.layers.0.mlp.gate_proj.bias"),
    ])
  func biases(key: String, first: String) throws {
    let error = try refusal(try checkpoint([.init(key, true)]))
    #expect(error.kind == .malformed && error.tensor == first)
  }

  @Test("a bias that llama.cpp does not have is refused by name") func unknownBias() throws {
    let name = "model.layers.0.self_attn.o_proj.bias"
    let others = [("q", [64]), ("k", [32]), ("v", [32])].map {
      ("model.layers.0.self_attn.\($0.0)_proj.bias", $0.1)
    }
    let accepted = try plan(
      try checkpoint([.init("attention_bias", true)], adding: others + [(name, [64])]))
    #expect(accepted.jobs.map(\.target.name).contains("blk.0.attn_output.bias"))
    let ignored = try refusal(try checkpoint(adding: [(name, [64])]))
    #expect(ignored.kind == .malformed && ignored.tensor == name)
    #expect(ignored.expected?.contains("attention_bias true") == true)
    let error = try refusal(try checkpoint([.init("model_type", "qwen2")], adding: [(name, [64])]))
    #expect(error.kind == .unsupported && error.tensor == name)
  }

  @Test("a RoPE scaling that llama.cpp does not support is refused") func scaling() throws {
    for type in ["spiral", "longrope"] {
      let factors: JSONValue = [1, 1, 1, 1, 1, 1, 1, 1]
      let scaling: JSONValue = [
        "rope_type": .string(type), "factor": 2, "long_factor": factors, "short_factor": factors,
      ]
      let error = try refusal(try checkpoint([.init("rope_scaling", scaling)]))
      #expect(error.kind == .unsupported && error.found == type)
    }
    let scaling: JSONValue = [
      "rope_type": "llama3", "factor": 2, "low_freq_factor": 1, "high_freq_factor": 4,
    ]
    _ = try plan(try checkpoint([.init("rope_scaling", scaling)]))
    let error = try refusal(
      try checkpoint([.init("model_type", "qwen2"), .init("rope_scaling", scaling)]))
    #expect(error.kind == .unsupported && error.found == "llama3")
  }

  @Test("a difference in long texts gets a note with the number of tokens") func longTexts() throws
  {
    for (changes, count) in [
      (["rope_scaling": ["type": "dynamic", "factor": 2]], 512),
      (["model_type": "mistral", "sliding_window": 48], 48),
    ] as [(JSONValue, Int)] {
      let plan = try plan(try checkpoint(changes.members ?? []))
      #expect(plan.notes.contains { $0.contains("up to \(count) tokens") })
    }
    for changes in [
      ["model_type": "mistral", "sliding_window": .null],
      ["model_type": "mistral", "sliding_window": 512],
    ] as [JSONValue] {
      #expect(
        !(try plan(try checkpoint(changes.members ?? [])).notes.contains { $0.contains("tokens") }))
    }
    let error = try refusal(
      try checkpoint([
        .init("model_type", "qwen2"), .init("use_sliding_window", true),
        .init("sliding_window", 48), .init("layer_types", ["sliding_attention"]),
      ]))
    #expect(error.kind == .unsupported && error.tensor == "use_sliding_window")
  }

  @Test("a note says so if no file states the end-of-text token", arguments: [false, true])
  func end(isStated: Bool) throws {
    let value: JSONValue = isStated ? [40, 1, 2] : 40
    let plan = try plan(try checkpoint([.init("eos_token_id", value)]))
    #expect(
      plan.notes.count { $0.contains("tokenizer.ggml.eos_token_id=ID") } == (isStated ? 0 : 1))
    let metadata = plan.layout.contents.metadata
    #expect(metadata["tokenizer.ggml.eos_token_id"] == (isStated ? .u32(1) : nil))
  }

  @Test("a checkpoint without a config is refused") func withoutConfig() throws {
    let model = try Models.named(Self.tensors, in: scratch, metadata: [])
    #expect(try refusal(model).kind == .unsupported)
  }

  @Test("the pooling of a model of sentence-transformers follows the hyperparameters")
  func pooling() throws {
    try scratch.write(
      #"[{"path":"","type":"st.Transformer"},{"path":"1_Pooling","type":"st.models.Pooling"}]"#,
      as: "hf/modules.json")
    try scratch.write(#"{"pooling_mode_cls_token":true}"#, as: "hf/1_Pooling/config.json")
    let plan = try plan(try checkpoint())
    #expect(plan.notes == [])
    let entries = plan.layout.contents.metadata.entries
    let index = try #require(entries.firstIndex { $0.key == "llama.pooling_type" })
    #expect(entries[index].value == .u32(2))
    #expect(entries[index + 1].key.hasPrefix("tokenizer.ggml."))
  }

  @Test("--tokenizer-pre is a usage error for a model that is not translated")
  func ownTokenizer() throws {
    let model = try Models.named([("token_embd.weight", [4, 32])], in: scratch)
    var destination = Destination(path: scratch.path("out.gguf"), format: .gguf)
    destination.preTokenizer = "qwen2"
    let error = Laws.error { () throws(ModelError) in
      try Plan.converting(model, to: destination)
    }
    #expect(error?.kind == .usage)
  }
}
