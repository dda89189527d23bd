import Formats
import Pleat
import TestSupport
import Testing

/// Folds between the names and row orders of Hugging Face and llama.cpp.
@Suite struct FoldNameTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  // 4 query heads and 2 key heads of 6 rows each; 16 inputs.
  private static let config = """
    {"model_type":"llama","num_attention_heads":4,"num_key_value_heads":2,"head_dim":6,
    "hidden_size":16}
    """
  private static let layers = [
    ("self_attn.q_proj", "attn_q", 24), ("self_attn.k_proj", "attn_k", 12),
    ("self_attn.v_proj", "attn_v", 12), ("mlp.up_proj", "ffn_up", 20),
  ]

  /// The row in Hugging Face order that llama.cpp stores at `row` of a layer.
  private static func huggingFaceRow(_ row: Int, _ gguf: String) -> Int {
    guard gguf == "attn_q" || gguf == "attn_k" else { return row }
    return row / 6 * 6 + row % 2 * 3 + row % 6 / 2
  }

  private static func weights(_ index: Int) -> [Float] {
    var random = Seeded(620 + UInt64(index))
    return random.weights(layers[index].2 * 16)
  }

  /// Rows of Hugging Face, reordered as in llama.cpp.
  private static func interleaved(_ values: [Float], _ gguf: String) -> [Float] {
    let width = 16
    return (0..<values.count / width).flatMap { row in
      let start = huggingFaceRow(row, gguf) * width
      return Array(values[start..<start + width])
    }
  }

  private func huggingFace(config: String = Self.config) throws -> Model {
    let tensors = Self.layers.enumerated().map { index, layer in
      Toy("model.layers.3.\(layer.0).weight", .f32, [layer.2, 16], Self.weights(index))
    }
    try folder.scratch.write(ToyFiles.safetensors(tensors), as: "hf/model.safetensors")
    try folder.scratch.write(config, as: "hf/config.json")
    return try Model.open(folder.scratch.path("hf"))
  }

  /// The same model in gguf, with the names and the row order of llama.cpp.
  private func llama(heads: Bool = true) throws -> Model {
    let tensors: [(Toy, typeNumber: UInt32)] = Self.layers.enumerated().map { index, layer in
      let values = Self.interleaved(Self.weights(index), layer.1)
      return (Toy("blk.3.\(layer.1).weight", .f32, [layer.2, 16], values), 0)
    }
    let counts: [(String, UInt32)] = [
      ("llama.attention.head_count", 4), ("llama.attention.head_count_kv", 2),
      ("llama.attention.key_length", 6), ("llama.embedding_length", 16),
    ]
    let bytes = ToyFiles.gguf(tensors, counts: heads ? counts : [])
    return try Model.open(try folder.scratch.write(bytes, as: "base.gguf"))
  }

  private static let factors = layers.enumerated().map { index, layer in
    ToyFactors("model.layers.3.\(layer.0)", layer.2, 16, seed: 630 + UInt64(index))
  }

  @Test(
    "a PEFT adapter folds into a llama.cpp base with reordered rows",
    arguments: ["gguf", "pleat"])
  func straight(format: String) throws {
    let applied = try folder.applied(Self.factors)
    let expected = try folder.fold([applied], into: try huggingFace(), to: "expected.safetensors")
    let found = try folder.fold([applied], into: try llama(), to: "out.\(format)")
    for layer in Self.layers {
      let wanted = Numbers.floats(
        f32: try expected.model.part(.values, of: "model.layers.3.\(layer.0).weight"))
      let values = Numbers.floats(
        f32: try found.model.part(.values, of: "blk.3.\(layer.1).weight"))
      #expect(values.bits == Self.interleaved(wanted, layer.1).bits, "\(layer.1)")
    }
  }

  @Test("a llama.cpp adapter folds into a Hugging Face base with rows in the old order")
  func reverse() throws {
    let applied = try folder.applied(Self.factors)
    let expected = try folder.fold([applied], into: try huggingFace(), to: "expected.safetensors")
    let tensors: [(Toy, typeNumber: UInt32)] = zip(Self.layers, Self.factors).flatMap {
      layer, factors -> [(Toy, typeNumber: UInt32)] in
      let rows = (0..<layer.2).flatMap { row in
        let start = Self.huggingFaceRow(row, layer.1) * 2
        return Array(factors.b[start..<start + 2])
      }
      let name = "blk.3.\(layer.1).weight"
      return [
        (Toy("\(name).lora_a", .f32, [2, 16], factors.a), 0),
        (Toy("\(name).lora_b", .f32, [layer.2, 2], rows), 0),
      ]
    }
    let metadata = [
      ("general.type", "adapter"), ("general.architecture", "llama"), ("adapter.type", "lora"),
    ]
    let bytes = ToyFiles.gguf(tensors, metadata: metadata, alpha: 6)
    let path = try folder.scratch.write(bytes, as: "lora.gguf")
    let gguf = AppliedAdapter(try AdapterFile.open(path))
    let found = try folder.fold([gguf], into: try huggingFace(), to: "out.safetensors")
    for layer in Self.layers {
      let name = "model.layers.3.\(layer.0).weight"
      #expect(try found.model.parts(name) == expected.model.parts(name), "\(layer.0)")
    }
  }

  @Test("the rows of a replaced query weight are reordered too") func replacement() throws {
    let values = Self.weights(0).map { $0 + 1 }
    let applied = try folder.applied(
      [], [Toy("model.layers.3.self_attn.q_proj.weight", .f32, [24, 16], values)])
    let found = try folder.fold([applied], into: try llama(), to: "out.gguf")
    let stored = try found.model.part(.values, of: "blk.3.attn_q.weight")
    #expect(Numbers.floats(f32: stored).bits == Self.interleaved(values, "attn_q").bits)
  }

  @Test("without head counts, only queries and keys cannot be mapped") func noHeads() throws {
    let base = try llama(heads: false)
    for (index, layer) in Self.layers.enumerated() {
      let found = try folder.error(
        [try folder.applied([Self.factors[index]])], into: base, to: "\(layer.1).gguf")
      let isRotated = ["attn_q", "attn_k"].contains(layer.1)
      #expect(found.error?.kind == (isRotated ? .mismatch : nil), "\(layer.1)")
    }
  }

  @Test(
    "an adapter with the names of the base model folds into any model type",
    arguments: ["{}", "[]", "{\"model_type\":\"mamba\"}", "{\"model_type\":5}"])
  func unknownKind(config: String) throws {
    let base = try huggingFace(config: config)
    let found = try folder.fold(
      [try folder.applied(Self.factors)], into: base, to: "out.safetensors")
    #expect(found.report.tensors.count == 4)
  }
}
