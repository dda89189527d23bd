import Adapters
import Architectures
import Bytes
import TensorModel
import TestSupport
import Testing

/// Layers that mlx-lm names in another way than Hugging Face, or stacks.
@Suite struct PairingMLXNameTests {
  private func pair(
    _ adapter: ToyAdapter, _ tensors: [(name: String, shape: [Int])], type: String
  ) throws -> [PairedChange] {
    let names = MLXNames.forConfig(["model_type": .string(type), "num_experts": 3])
    let plain = base(tensors)
    let layers = FusedParts.layers(of: plain, named: names, dividesStacks: true)
    return try Pairing(plain + layers, names: names)
      .pair(try adapter.read(), Pairing.Use(index: 0))
  }

  private static let block = "model.layers.4.mlp."

  /// An adapter of 3 experts: up_proj of 5 × 16 or down_proj of 16 × 5.
  private static func stack(_ path: String, down: Bool = false) -> ToyAdapter {
    let (height, width) = down ? (16, 5) : (5, 16)
    return .mlx([("\(path).lora_a", [3, 2, width]), ("\(path).lora_b", [3, height, 2])])
  }

  @Test("a stack of mlx-lm changes experts that are stored one by one") func separate() throws {
    let tensors = (0..<3).flatMap { expert in
      ["up_proj", "gate_proj"].map {
        (name: "\(Self.block)experts.\(expert).\($0).weight", shape: [5, 16])
      }
    }
    let found = try pair(
      Self.stack(Self.block + "switch_mlp.gate_proj"), tensors, type: "qwen3_moe")
    #expect(found.map(\.tensor) == [1, 3, 5])
    #expect(found.map(\.window) == [nil, nil, nil])
    // lora_b has 5 × 2 numbers for each expert, lora_a 2 × 16.
    #expect(found.compactMap(\.lowRank).map(\.left.offset) == [0, 10, 20])
    #expect(found.compactMap(\.lowRank).map(\.right.offset) == [0, 32, 64])
  }

  @Test("a stack of mlx-lm changes rows of the stack of transformers") func fused() throws {
    let tensors: [(name: String, shape: [Int])] = [
      (Self.block + "experts.gate_up_proj", [3, 10, 16]),
      (Self.block + "experts.down_proj", [3, 16, 5]),
    ]
    let up = try pair(Self.stack(Self.block + "switch_mlp.up_proj"), tensors, type: "qwen3_moe")
    #expect(up.map(\.tensor) == [0, 0, 0])
    #expect(up.map(\.window) == [5..<10, 15..<20, 25..<30])
    let down = try pair(
      Self.stack(Self.block + "switch_mlp.down_proj", down: true), tensors, type: "qwen3_moe")
    #expect(down.map(\.tensor) == [1] && down.map(\.window) == [nil])
    #expect(down.first?.lowRank?.expertCount == 3)
  }

  private static let switches: [(name: String, shape: [Int])] = [
    (block + "switch_mlp.up_proj.weight", [3, 5, 16]),
    (block + "switch_mlp.gate_proj.weight", [3, 5, 16]),
  ]

  @Test("an adapter of one expert changes rows of the stack of mlx-lm") func single() throws {
    let path = Self.block + "experts.2.gate_proj"
    let found = try pair(
      .peft([(path + ".lora_A.weight", [2, 16]), (path + ".lora_B.weight", [5, 2])]),
      Self.switches, type: "qwen3_moe")
    #expect(found.map(\.tensor) == [1] && found.map(\.window) == [10..<15])
  }

  @Test("a stack of transformers changes the stacks of mlx-lm") func bothStacks() throws {
    let path = Self.block + "experts"
    let found = try pair(
      .peft(
        [(path + ".lora_A.weight", [6, 16]), (path + ".lora_B.weight", [10, 6])],
        ["target_parameters": ["experts.gate_up_proj"]]),
      Self.switches, type: "qwen3_moe")
    #expect(found.map(\.tensor) == [1, 0, 1, 0, 1, 0])
    #expect(found.map(\.window) == [0..<5, 0..<5, 5..<10, 5..<10, 10..<15, 10..<15])
    // The rows of lora_B have 6 numbers: those of up_proj come after 5 of gate_proj.
    #expect(found.compactMap(\.lowRank).map(\.left.offset) == [0, 30, 1, 31, 2, 32])
  }

  @Test("the stacks of granite have two names") func granite() throws {
    let block = "model.layers.4.block_sparse_moe."
    let adapter = ToyAdapter.peft(
      [
        (block + "experts.base_layer.lora_A.weight", [6, 16]),
        (block + "experts.base_layer.lora_B.weight", [10, 6]),
        (block + "experts.lora_A.weight", [6, 5]), (block + "experts.lora_B.weight", [16, 6]),
      ], ["target_parameters": ["experts.gate_up_proj", "experts.down_proj"]])
    let found = try pair(
      adapter,
      [
        (block + "output_linear.weight", [3, 16, 5]), (block + "input_linear.weight", [3, 10, 16]),
      ], type: "granitemoe")
    #expect(found.map(\.tensor) == [1, 1, 1, 1, 1, 1, 0])
    #expect(found.prefix(2).map(\.window) == [0..<5, 5..<10])
    #expect(found.last?.window == nil)
  }

  @Test("the router of mixtral has two names", arguments: [false, true])
  func router(isReplaced: Bool) throws {
    let adapter =
      isReplaced
      ? ToyAdapter.peft([(Self.block + "gate.weight", [3, 16])])
      : .peft(
        [
          (Self.block + "gate.lora_A.weight", [2, 16]),
          (Self.block + "gate.lora_B.weight", [3, 2]),
        ],
        ["target_parameters": ["gate.weight"]])
    let found = try pair(
      adapter, [("model.layers.4.block_sparse_moe.gate.weight", [3, 16])], type: "mixtral")
    #expect(found.map(\.tensor) == [0] && found.map(\.isReplacement) == [isReplaced])
  }

  @Test("several names of one tensor are not ambiguous") func severalNames() throws {
    let path = "model.transformer.h.4.attn.c_attn"
    let found = try pair(
      .peft([(path + ".lora_A.weight", [2, 16]), (path + ".lora_B.weight", [3, 2])]),
      [("transformer.h.4.attn.c_attn.weight", [3, 16])], type: "gpt2")
    #expect(found.map(\.tensor) == [0])
  }
}
