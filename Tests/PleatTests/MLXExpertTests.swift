import Bytes
import Formats
import Pleat
import TestSupport
import Testing

/// Experts as mlx-lm wants them: one tensor for all experts of a layer.
///
/// The interop tests check that mlx-lm runs the output.
@Suite struct MLXExpertTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private static func config(_ type: String, _ count: Int, _ more: String = "") -> String {
    #"{"model_type":"\#(type)","num_experts":\#(count),"hidden_size":64\#(more)}"#
  }

  /// The paths of a layer's experts, one by one, in byte order: 10 before 2.
  private static func paths(_ count: Int, _ matrix: String) -> [String] {
    (0..<count).map { "model.layers.1.mlp.experts.\($0).\(matrix)" }.sorted()
  }

  /// The matrices of 11 experts, and a router.
  private static var tensors: [Toy] {
    let matrices = ["gate_proj": [96, 64], "up_proj": [96, 64], "down_proj": [64, 96]]
    let experts = matrices.sorted { $0.key < $1.key }.flatMap { name, shape in
      paths(11, name).enumerated().map { index, path in
        Toy("\(path).weight", .bf16, shape, seed: UInt64(200 + index + 20 * name.count))
      }
    }
    return experts + [Toy("model.layers.1.mlp.gate.weight", .bf16, [11, 64], seed: 199)]
  }

  private func source(_ type: String = "qwen3_moe") throws -> Model {
    try folder.checkpoint(Self.tensors, config: Self.config(type, 11))
  }

  private static let stack = "model.layers.1.mlp.switch_mlp"

  @Test("matrices of experts are stacked in the order of their numbers, byte for byte")
  func plain() throws {
    let source = try source()
    let model = try folder.rewrite(source, to: "1.mlx")
    #expect(
      model.catalog.tensors.map(\.name).sorted() == [
        "model.layers.1.mlp.gate.weight", "\(Self.stack).down_proj.weight",
        "\(Self.stack).gate_proj.weight", "\(Self.stack).up_proj.weight",
      ])
    for matrix in ["gate_proj", "up_proj", "down_proj"] {
      let expected = try (0..<11).flatMap {
        try source.part(.values, of: "model.layers.1.mlp.experts.\($0).\(matrix).weight")
      }
      #expect(try model.part(.values, of: "\(Self.stack).\(matrix).weight") == expected)
    }
    let found = try Verification(of: model, against: source, tolerance: 0)
    #expect(found.holds && found.comparisons?.count == Self.tensors.count)
    #expect(found.comparisons?.contains { $0.name == "\(Self.stack).up_proj.weight[10]" } == true)
  }

  @Test(
    "codes, scales and biases of a stack are those of its matrices", arguments: [3, 4, 8], [1, 3])
  func quantized(bits: Int, workerCount: Int) throws {
    let source = try source()
    let recipe = try Recipe.with(bits: bits, group: .columns(32))
    let destination = Destination(path: folder.scratch.path("1.mlx"), format: .mlx)
    let plan = try Plan.quantizing(source, recipe, to: destination)
    try Run(plan, workerCount: workerCount)()
    let model = try Model.open(destination.path)
    let packed = try folder.quantize(source, recipe, to: "2.pleat")
    for matrix in ["gate_proj", "up_proj", "down_proj"] {
      let stack = try model.parts("\(Self.stack).\(matrix).weight")
      for role in [PartRole.codes, .scales, .biases] {
        let expected = try (0..<11).flatMap {
          try packed.part(role, of: "model.layers.1.mlp.experts.\($0).\(matrix).weight")
        }
        #expect(stack[role] == expected, "\(matrix) \(role)")
      }
    }
    // The router of this model can be quantized, but stays as it is in every model.
    #expect(try model.parts("model.layers.1.mlp.gate.weight")[.values] != nil)
    let byteCount = try folder.files("1.mlx").values.reduce(0) { $0 + $1.count }
    #expect(plan.isExact && plan.byteCount == byteCount)
  }

  @Test("the config lists layers with other groups by the names of the stacks") func config() throws
  {
    let recipe = try Recipe.with(group: .columns(32), rules: ["*.experts.*.down_proj=8:32"])
    let model = try folder.quantize(try source(), recipe, to: "1.mlx")
    let quantization = try folder.document("1.mlx")["quantization"]
    #expect(
      quantization == [
        "group_size": 32, "bits": 4, "mode": "affine",
        "model.layers.1.mlp.switch_mlp.down_proj": [
          "group_size": 32, "bits": 8, "mode": "affine",
        ],
      ])
    let index = try #require(model.index(of: "\(Self.stack).down_proj.weight"))
    #expect(model.catalog.tensors[index].shape == Shape(11, 64, 96))
  }

  @Test("a rule for some experts of a layer is refused with the expert") func someExperts() throws {
    let source = try source()
    let error = Laws.error { () throws(ModelError) in
      try folder.quantize(
        source, try .with(group: .columns(32), rules: ["*.experts.4.up_proj=8"]), to: "1.mlx")
    }
    #expect(error?.kind == .unsupported)
    #expect(error?.tensor == "model.layers.1.mlp.experts.4.up_proj.weight")
  }

  @Test("experts that transformers stacks are divided into gate and up")
  func halves() throws {
    let joined = "model.layers.0.mlp.experts.gate_up_proj"
    let source = try folder.checkpoint(
      [
        Toy(joined, .f16, [3, 10, 64], seed: 301),
        Toy("model.layers.0.mlp.experts.down_proj", .f16, [3, 64, 32], seed: 302),
      ], config: Self.config("olmoe", 3))
    let plain = try folder.rewrite(source, to: "1.mlx")
    let stack = "model.layers.0.mlp.switch_mlp"
    let bytes = try source.part(.values, of: joined)
    for (piece, name) in ["gate_proj", "up_proj"].enumerated() {
      // 5 rows of 64 numbers of 2 bytes for each of 3 experts.
      let starts = (0..<3).map { (2 * $0 + piece) * 640 }
      let expected = starts.flatMap { Array(bytes[$0..<$0 + 640]) }
      #expect(try plain.part(.values, of: "\(stack).\(name).weight") == expected)
    }
    let index = try #require(plain.index(of: "\(stack).up_proj.weight"))
    #expect(plain.catalog.tensors[index].shape == Shape(3, 5, 64))
    #expect(plain.index(of: "\(stack).down_proj.weight") != nil)
    #expect(try Verification(of: plain, against: source, tolerance: 0).holds)
    let recipe = try Recipe.with(bits: 5, group: .columns(32))
    let model = try folder.quantize(source, recipe, to: "2.mlx")
    let direct = try folder.quantize(plain, recipe, to: "3.mlx")
    #expect(try model.allParts() == direct.allParts())
    #expect(try Verification(of: model, against: source, tolerance: 0.1).holds)
  }

  @Test("names of mlx-lm stay as they are, also those made by mlx-lm") func again() throws {
    let first = try folder.quantize(try source(), Recipe(), to: "1.mlx")
    let second = try folder.rewrite(first, to: "2.mlx")
    #expect(try second.allParts() == first.allParts())
    let packed = try folder.rewrite(first, to: "3.pleat", .pleat)
    #expect(try folder.rewrite(packed, to: "4.mlx").allParts() == first.allParts())
  }

  @Test("a checkpoint with stacks of mlx-lm gets a note that transformers does not load it")
  func note() throws {
    let model = try folder.quantize(try source(), Recipe(), to: "1.mlx")
    let destination = Destination(path: folder.scratch.path("2"), format: .safetensors)
    let plan = try Plan.converting(model, to: destination)
    #expect(plan.notes.contains { $0.contains("transformers") && $0.contains("switch_mlp") })
    let packed = Destination(path: folder.scratch.path("3.pleat"), format: .pleat)
    #expect(try Plan.converting(model, to: packed).notes.isEmpty)
  }

  @Test("an adapter for an expert is folded into its matrix of the stack, and proven")
  func adapter() throws {
    let source = try source()
    let factors = ToyFactors("model.layers.1.mlp.experts.7.up_proj", 96, 64, seed: 310)
    let adapter = try folder.applied([factors])
    let folded = try folder.fold([adapter], into: source, to: "1.mlx").model
    #expect(try Verification(of: folded, against: source, adapters: [adapter]).holds)
    let before = try folder.rewrite(source, to: "2.mlx")
    let name = "\(Self.stack).up_proj.weight"
    let (old, new) = (try before.part(.values, of: name), try folded.part(.values, of: name))
    let size = 96 * 64 * 2
    for expert in 0..<11 {
      let range = expert * size..<(expert + 1) * size
      #expect((old[range] == new[range]) == (expert != 7), "\(expert)")
    }
  }
}
