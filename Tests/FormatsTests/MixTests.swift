import Formats
import Kernels
import TensorModel
import TestSupport
import Testing

/// The names of mixes, and what they choose for small models.
@Suite struct MixTests {
  // MARK: - Names

  @Test("a mix is found by its name or an alias, in any case, and by its file type")
  func names() throws {
    for mix in Mix.all {
      #expect(try Mix.named(mix.name.lowercased()) == mix)
      #expect(Mix.withFileType(mix.fileType) == mix)
      #expect(GGUFFileType.name(of: mix.fileType) == mix.name)
    }
    #expect(Set(Mix.all.map(\.fileType)).count == Mix.all.count)
    #expect(try Mix.named("q4_k").name == "Q4_K_M" && Mix.named("Q5_K").name == "Q5_K_M")
    #expect(try Mix.named("Q3_K").name == "Q3_K_M" && Mix.named("Q2_K").name == "Q2_K")
    #expect(GGUFFileType.name(of: 1) == "F16" && GGUFFileType.name(of: 20) == "IQ2_XS")
    #expect(Mix.withFileType(1) == nil && GGUFFileType.name(of: 4) == nil)
  }

  @Test("an unknown name lists all mixes", arguments: ["", "Q4", "F16", "Q4_K_M "])
  func unknown(name: String) throws {
    let error = try #require(Laws.error { () throws(ModelError) in try Mix.named(name) })
    #expect(error.kind == .usage && error.what == "unknown mix '\(name)'")
    #expect(Mix.all.allSatisfy { error.expected?.contains($0.name) == true })
  }

  @Test(
    "a mix with types that Pleat does not write names the nearest",
    arguments: [("iq2_xs", "Q2_K"), ("IQ3_M", "Q3_K_M"), ("Q1_0", "TQ1_0")])
  func unwritten(name: String, nearest: String) throws {
    let error = try #require(Laws.error { () throws(ModelError) in try Mix.named(name) })
    #expect(error.kind == .unsupported && error.hint == "the nearest mix is \(nearest)")
    #expect(try Mix.named(nearest).name == nearest)
  }

  // MARK: - Choices

  private static func metadata(_ numbers: [String: UInt32]) -> Metadata {
    var metadata = Metadata()
    metadata.append("general.architecture", .text("llama"))
    for (key, value) in numbers.sorted(by: { $0.key < $1.key }) {
      metadata.append("llama.\(key)", .u32(value))
    }
    return metadata
  }

  private static func model(_ layers: Int, _ others: [String: UInt32] = [:]) throws -> MixModel {
    let numbers = [
      "block_count": UInt32(layers), "attention.head_count": 8, "attention.head_count_kv": 1,
    ]
    return try MixModel(metadata(numbers.merging(others) { $1 }))
  }

  private static func tensor(_ name: String, _ dimensions: Int...) -> TensorInfo {
    TensorInfo(
      name: name, shape: Shape(validating: dimensions) ?? Shape(), encoding: .plain(.f16))
  }

  private static func values(_ count: Int) -> [TensorInfo] {
    (0..<count).map { tensor("blk.\($0).attn_v.weight", 2, 256) }
  }

  private static func types(_ choices: [MixChoice]) -> [String] {
    choices.map { $0.encoding?.description ?? "-" }
  }

  /// A mix, a tensor of a model with 16 layers, its type, and the reason.
  static let reasons: [(String, TensorInfo, String, String)] = [
    ("Q4_K_M", tensor("blk.0.attn_q.weight", 2, 256), "Q4_K", "base type of Q4_K_M"),
    ("Q4_K_M", tensor("output.weight", 2, 256), "Q6_K", "the output head"),
    ("Q4_K_M", tensor("output.weight", 2, 96), "Q8_0", "the output head"),
    ("Q4_K_M", tensor("blk.0.attn_norm.weight", 256), "-", "a vector"),
    ("Q4_K_M", tensor("blk.0.ffn_gate_inp.weight", 8, 256), "-", "a router"),
    ("Q4_K_M", tensor("cls.weight", 1, 256), "-", "a vector"),
    ("Q4_K_M", tensor("blk.0.attn_q.bias", 2, 256), "-", "not a weight"),
    ("Q4_K_M", tensor("a.weight", 2, 2, 2, 256), "-", "4 dimensions"),
    (
      "Q4_K_M", tensor("token_embd.weight", 2, 256), "Q6_K",
      "token embeddings that serve as the head"
    ),
    (
      "Q4_K_M", tensor("blk.0.attn_q.weight", 2, 96), "Q5_0",
      "base type of Q4_K_M, but 96 columns are not a multiple of 256: Q5_0 instead of Q4_K"
    ),
    (
      "Q4_K_M", tensor("blk.0.attn_q.weight", 2, 100), "F16",
      "base type of Q4_K_M, but 100 columns are not a multiple of 32: F16 instead of Q4_K"
    ),
    ("Q2_K", tensor("blk.0.attn_v.weight", 2, 256), "Q4_K", "attn_v shared by 8 heads"),
    ("Q3_K_L", tensor("blk.0.attn_output.weight", 2, 256), "Q5_K", "attn_output in Q3_K_L"),
    ("Q3_K_M", tensor("blk.0.attn_qkv.weight", 2, 256), "Q5_K", "one of the first 2 attn_qkv"),
    ("Q3_K_M", tensor("blk.0.ffn_down.weight", 2, 256), "Q5_K", "ffn_down, first sixteenth"),
    (
      "IQ4_XS", tensor("blk.0.ffn_down.weight", 2, 256), "Q5_K",
      "ffn_down, first eighth, without an importance matrix"
    ),
    ("MXFP4_MOE", tensor("blk.0.ffn_up_exps.weight", 4, 2, 256), "MXFP4", "a stack of matrices"),
    ("MXFP4_MOE", tensor("blk.0.ffn_up.weight", 2, 256), "Q8_0", "not a stack of experts"),
  ]

  @Test("each choice has a reason in words", arguments: reasons)
  func reason(mix: String, tensor: TensorInfo, type: String, reason: String) throws {
    let chooser = MixChooser(try Mix.named(mix), for: try Self.model(16))
    let choice = try #require(try chooser.choices(for: [tensor]).first)
    #expect(Self.types([choice]) == [type] && choice.reason == reason)
    #expect(choice.isFallback == reason.contains("instead of"))
  }

  @Test("the ends and every third of the values get more bits, whatever the order of the input")
  func thirds() throws {
    let chooser = MixChooser(try Mix.named("Q4_K_M"), for: try Self.model(16))
    let choices = try chooser.choices(for: Self.values(16).reversed()).reversed()
    let long = choices.enumerated().filter { $1.encoding == BlockType.q6_K.encoding }
    #expect(long.map(\.offset) == [0, 1, 4, 7, 10, 13, 14, 15])
    #expect(
      long.map(\.element.reason).prefix(3)
        == ["attn_v, first eighth", "attn_v, first eighth", "every third attn_v"])
    #expect(long.last?.element.reason == "attn_v, last eighth")
  }

  @Test("a tensor with an override is not counted") func overrides() throws {
    let chooser = MixChooser(try Mix.named("Q3_K_M"), for: try Self.model(16))
    let overrides = [
      MixOverride(nil, "kept"), MixOverride(BlockType.q8_0.encoding, "rule 'blk.1.*=Q8_0'"),
    ]
    let choices = try chooser.choices(for: Self.values(5)) { tensor in
      let index = Self.values(2).firstIndex { $0.name == tensor.name }
      return index.map { overrides[$0] }
    }
    #expect(Self.types(choices) == ["-", "Q8_0", "Q5_K", "Q5_K", "Q4_K"])
    #expect(choices.prefix(2).map(\.reason) == ["kept", "rule 'blk.1.*=Q8_0'"])
  }

  @Test("with experts, the layer in the name decides, and must exist") func experts() throws {
    let model = try Self.model(16, ["expert_count": 4])
    let chooser = MixChooser(try Mix.named("Q4_K_M"), for: model)
    let name = "ffn_down_exps.weight"
    let layers = [1, 2, 3, 4].map { Self.tensor("blk.\($0).\(name)", 4, 2, 256) }
    #expect(Self.types(try chooser.choices(for: layers)) == ["Q6_K", "Q4_K", "Q4_K", "Q6_K"])
    for (name, found) in [(name, "no layer"), ("blk.16.\(name)", "blk.16")] {
      let error = try #require(
        Laws.error { () throws(ModelError) in
          try chooser.choices(for: [Self.tensor(name, 4, 2, 256)])
        })
      #expect(error.kind == .malformed && error.tensor == name && error.found == found)
    }
  }

  @Test("Q2_K_S needs a matrix with weights for all tensors but embeddings and the head")
  func needed() throws {
    let tensors = [
      Self.tensor("token_embd.weight", 2, 256), Self.tensor("output.weight", 2, 256),
      Self.tensor("blk.0.attn_q.weight", 2, 256), Self.tensor("blk.0.attn_k.weight", 2, 96),
    ]
    let (mix, model) = (try Mix.named("Q2_K_S"), try Self.model(2))
    let cases: [(Set<ExactName>, ModelError.Kind?)] = [
      ([], .usage), ([ExactName("other")], .mismatch), ([ExactName("blk.0.attn_q.weight")], nil),
    ]
    for (entries, kind) in cases {
      let chooser = MixChooser(mix, for: model, matrixEntries: entries)
      let error = Laws.error { () throws(ModelError) in try chooser.choices(for: tensors) }
      #expect(error?.kind == kind && (kind == nil || error?.tensor == "blk.0.attn_q.weight"))
    }
    // A tensor of this type is copied.
    var copied = tensors
    copied[2].encoding = BlockType.q2_K.encoding
    #expect(try MixChooser(mix, for: model).choices(for: copied).count == 4)
    #expect(try MixChooser(Mix.named("Q2_K"), for: model).choices(for: tensors).count == 4)
  }

  @Test("a model without a number of layers is malformed") func layers() throws {
    for numbers in [[:], ["block_count": 0]] as [[String: UInt32]] {
      let metadata = Self.metadata(numbers)
      let error = try #require(
        Laws.error { () throws(ModelError) in try MixModel(metadata) })
      #expect(error.kind == .malformed && error.tensor == "llama.block_count")
    }
  }

  @Test("heads may be a list, and layers that predict further tokens do not make a 70B model")
  func facts() throws {
    var metadata = Self.metadata(["block_count": 80, "attention.head_count": 8])
    #expect(try MixModel(metadata).keySharing == 1)
    metadata["llama.attention.head_count_kv"] = .array(
      MetadataArray(elementType: .i32, count: 2, bytes: [2, 0, 0, 0, 8, 0, 0, 0]))
    let model = try MixModel(metadata)
    #expect(model.keySharing == 4 && model.isSeventyBillion)
    metadata["llama.nextn_predict_layers"] = .u32(1)
    #expect(try MixModel(metadata).isSeventyBillion == false)
  }

  // MARK: - File types

  /// The types of weights, the file type before and after.
  static let fileTypes: [(BlockType, UInt32, UInt32)] = [
    (.q4_K, 1, 15), (.q4_K, 14, 14), (.q4_K, 15, 15), (.q3_K, 15, 12), (.q2_K, 21, 21),
    (.q2_K, 1, 10), (.q6_K, 15, 18), (.q8_0, 1, 7), (.mxfp4, 1, 38), (.q4_0, 15, 2),
  ]

  @Test("the file type names a mix of the type of most weights", arguments: fileTypes)
  func fileType(type: BlockType, before: UInt32, after: UInt32) {
    var metadata = Self.metadata([:])
    metadata["general.file_type"] = .u32(before)
    let tensor = TensorInfo(
      name: "blk.0.attn_q.weight", shape: Shape(2, 256), encoding: type.encoding)
    let updated = GGUFFileType.updated(metadata, for: [tensor])
    #expect(updated["general.file_type"] == .u32(after))
    #expect(updated["general.quantization_version"] == .u32(2))
  }

  @Test("without a matrix, and without a number of chunks, their entries are left out")
  func records() throws {
    let mix = try Mix.named("Q6_K")
    let metadata = Self.metadata(["block_count": 2])
    let plain = GGUFFileType.updated(metadata, for: mix).entries.map(\.key)
    let keys = ["general.quantization_version", "general.file_type"]
    #expect(plain == metadata.entries.map(\.key) + keys)
    let record = MatrixRecord(file: "m.dat", dataset: nil, entryCount: 1, chunkCount: 0)
    let recorded = GGUFFileType.updated(metadata, for: mix, matrix: record).entries.map(\.key)
    #expect(
      recorded == plain + ["quantize.imatrix.file", "quantize.imatrix.entries_count"])
  }
}
