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
    .init("rms_norm_eps", .number(1e-5)), .init("vocab_size", 40),
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

  @Test("head counts that do not match the tensors are malformed") func wrongHeads() throws {
    let error = try refusal(try checkpoint([.init("head_dim", 32)]))
    #expect(error.kind == .malformed && error.tensor?.hasSuffix("self_attn.q_proj.weight") == true)
  }

  @Test("a RoPE scaling that llama.cpp does not support is refused") func scaling() throws {
    let scaling: JSONValue = ["rope_type": "spiral", "factor": 2]
    let error = try refusal(try checkpoint([.init("rope_scaling", scaling)]))
    #expect(error.kind == .unsupported && error.found == "spiral")
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
