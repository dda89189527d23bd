import Adapters
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Adapters of layers that the base model stores as parts of a matrix or of a stack, and the reverse.
///
/// The same layers, stored one by one, are folded as a reference.
@Suite struct FusedFoldTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  // Two heads of 8 rows, one for keys and values.
  private static let config =
    #"{"model_type":"%","hidden_size":16,"num_attention_heads":2,"num_key_value_heads":1,"#
    + #""head_dim":8}"#

  private func base(_ tensors: [Toy], type: String = "llama", as name: String) throws -> Model {
    try Model.open(
      try folder.scratch.checkpoint(
        tensors, config: Self.config.replacing("%", with: type), as: name))
  }

  private func fold(_ adapter: [Toy], _ config: String = "", into base: Model) throws -> Model {
    let path = try folder.scratch.peft(adapter, config, as: "adapter")
    let applied = AppliedAdapter(try AdapterFile.open(path))
    let name = "out-\(try folder.scratch.names().count)"
    let destination = Destination(path: folder.scratch.path(name), format: .safetensors)
    try Run(try Plan.folding([applied], into: base, to: destination))()
    let model = try Model.open(destination.path)
    #expect(try Verification(of: model, against: base, adapters: [applied]).holds)
    return model
  }

  private func numbers(_ model: Model, _ name: String) throws -> [Float] {
    Numbers.floats(try model.part(.values, of: name), .f32)
  }

  private static let attention = "model.layers.1.self_attn."
  private static let parts = [
    Toy(attention + "q_proj.weight", .f32, [16, 16], seed: 3201),
    Toy(attention + "k_proj.weight", .f32, [8, 16], seed: 3202),
    Toy(attention + "v_proj.weight", .f32, [8, 16], seed: 3203),
  ]
  private static let fused = Toy(
    attention + "qkv_proj.weight", .f32, [32, 16], bytes: parts.flatMap(\.bytes))

  @Test("adapters of queries and values fold into a matrix of queries, keys and values")
  func partsIntoFused() throws {
    let adapter =
      ToyFactors(Self.attention + "q_proj", 16, 16, seed: 3210).tensors
      + ToyFactors(Self.attention + "v_proj", 8, 16, seed: 3211).tensors
    let whole = try fold(adapter, into: try base([Self.fused], type: "phi3", as: "fused"))
    let single = try fold(adapter, into: try base(Self.parts, as: "single"))
    let expected = try Self.parts.flatMap { try numbers(single, $0.name) }
    #expect(try numbers(whole, Self.fused.name) == expected)
    #expect(expected != Numbers.floats(Self.fused.bytes, .f32))
  }

  @Test("an adapter of a fused matrix folds into its parts") func fusedIntoParts() throws {
    let adapter = ToyFactors(Self.attention + "qkv_proj", 32, 16, seed: 3220).tensors
    let whole = try fold(adapter, into: try base([Self.fused], type: "phi3", as: "fused"))
    let single = try fold(adapter, into: try base(Self.parts, as: "single"))
    #expect(
      try numbers(whole, Self.fused.name) == Self.parts.flatMap { try numbers(single, $0.name) })
  }

  @Test("heads that do not fit the matrix leave it undivided") func otherHeads() throws {
    let odd = Toy(Self.fused.name, .f32, [30, 16], seed: 3230)
    let adapter = ToyFactors(Self.attention + "q_proj", 16, 16, seed: 3231).tensors
    let base = try base([odd], type: "phi3", as: "odd")
    let path = try folder.scratch.peft(adapter, as: "adapter")
    let applied = AppliedAdapter(try AdapterFile.open(path))
    let error = try folder.error([applied], into: base, to: "out.safetensors")
    #expect(error.error?.kind == .mismatch && error.isClean)
  }

  // MARK: - Experts

  private static let experts = "model.layers.0.mlp.experts."
  private static func expert(_ number: Int, _ layer: String, seed: UInt64) -> Toy {
    let shape = layer == "down_proj" ? [16, 5] : [5, 16]
    return Toy("\(experts)\(number).\(layer).weight", .f32, shape, seed: seed + UInt64(number))
  }
  private static let separate = (0..<3).flatMap { number in
    ["gate_proj", "up_proj", "down_proj"].enumerated().map {
      expert(number, $1, seed: 3300 + 10 * UInt64($0))
    }
  }
  private static func bytes(_ number: Int, _ layers: [String]) -> [UInt8] {
    layers.flatMap { layer in
      separate.first { $0.name == "\(experts)\(number).\(layer).weight" }?.bytes ?? []
    }
  }
  private static let stacks = [
    Toy(
      experts + "gate_up_proj", .f32, [3, 10, 16],
      bytes: (0..<3).flatMap { bytes($0, ["gate_proj", "up_proj"]) }),
    Toy(
      experts + "down_proj", .f32, [3, 16, 5], bytes: (0..<3).flatMap { bytes($0, ["down_proj"]) }),
  ]

  /// The numbers of stacks, from the layers of each expert.
  private func stacked(_ model: Model) throws -> [[Float]] {
    [["gate_proj", "up_proj"], ["down_proj"]].map { layers in
      (0..<3).flatMap { number in
        layers.flatMap { layer in
          (try? numbers(model, "\(Self.experts)\(number).\(layer).weight")) ?? []
        }
      }
    }
  }

  @Test("adapters of single experts fold into stacks") func expertsIntoStacks() throws {
    let adapter =
      ToyFactors(Self.experts + "2.up_proj", 5, 16, seed: 3310).tensors
      + ToyFactors(Self.experts + "0.down_proj", 16, 5, seed: 3311).tensors
    let whole = try fold(adapter, into: try base(Self.stacks, type: "qwen3_moe", as: "stacks"))
    let single = try fold(adapter, into: try base(Self.separate, type: "qwen3_moe", as: "single"))
    let expected = try stacked(single)
    #expect(try Self.stacks.map { try numbers(whole, $0.name) } == expected)
    #expect(expected != Self.stacks.map { Numbers.floats($0.bytes, .f32) })
  }

  @Test("an adapter of stacks folds into single experts") func stacksIntoExperts() throws {
    let path = "model.layers.0.mlp.experts"
    let adapter = [
      Toy(path + ".base_layer.lora_A.weight", .f32, [6, 16], seed: 3320),
      Toy(path + ".base_layer.lora_B.weight", .f32, [10, 6], seed: 3321),
      Toy(path + ".lora_A.weight", .f32, [6, 5], seed: 3322),
      Toy(path + ".lora_B.weight", .f32, [16, 6], seed: 3323),
    ]
    let config =
      #""target_parameters":["mlp.experts.gate_up_proj","mlp.experts.down_proj"],"#
      + #""peft_version":"0.19.1""#
    let whole = try fold(
      adapter, config, into: try base(Self.stacks, type: "qwen3_moe", as: "stacks"))
    let single = try fold(
      adapter, config, into: try base(Self.separate, type: "qwen3_moe", as: "single"))
    #expect(try Self.stacks.map { try numbers(whole, $0.name) } == stacked(single))
  }
}
