import Bytes
import Formats
import Pleat
import TestSupport
import Testing

/// Tensors that mlx-lm stores in another form, leaves out, or cannot read.
@Suite struct MLXFormTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private func error(_ body: () throws(ModelError) -> Model) throws -> ModelError {
    let error = Laws.error(of: body)
    return try #require(error)
  }

  private static let hybrid = #"{"model_type":"qwen3_next","num_experts":2,"hidden_size":64}"#

  private static var hybridTensors: [Toy] {
    let matrices = [
      ("mlp.experts.0.up_proj", [32, 64]), ("mlp.experts.1.up_proj", [32, 64]),
      ("linear_attn.conv1d", [6, 1, 4]),
    ]
    let norms = ["input_layernorm", "self_attn.q_norm", "linear_attn.norm"]
    return matrices.enumerated().map {
      Toy(
        "model.layers.0.\($0.element.0).weight", .bf16, $0.element.1, seed: UInt64(400 + $0.offset))
    }
      + norms.enumerated().map {
        Toy("model.layers.0.\($0.element).weight", .bf16, [8], seed: UInt64(410 + $0.offset))
      } + [Toy("mtp.fc.weight", .bf16, [64, 64], seed: 420)]
  }

  @Test("norms plus 1, moved convolutions, and no layers that mlx-lm does not use")
  func hybrid() throws {
    let source = try folder.checkpoint(Self.hybridTensors, config: Self.hybrid)
    let destination = Destination(path: folder.scratch.path("1.mlx"), format: .mlx)
    let plan = try Plan.converting(source, to: destination)
    #expect(plan.notes.contains { $0.contains("left out: 1, such as mtp.fc.weight") })
    try Run(plan)()
    let model = try Model.open(destination.path)
    for (name, addsOne) in [
      ("input_layernorm", true), ("self_attn.q_norm", true), ("linear_attn.norm", false),
    ] {
      let name = "model.layers.0.\(name).weight"
      let old = Numbers.floats(try source.part(.values, of: name), .bf16)
      let expected = Numbers.bytes(old.map { addsOne ? $0 + 1 : $0 }, .bf16)
      #expect(try model.part(.values, of: name) == expected, "\(name)")
    }
    let convolution = "model.layers.0.linear_attn.conv1d.weight"
    let index = try #require(model.index(of: convolution))
    #expect(model.catalog.tensors[index].shape == Shape(6, 4, 1))
    #expect(
      try model.part(.values, of: convolution) == source.part(.values, of: convolution))
    #expect(model.index(of: "mtp.fc.weight") == nil)
    #expect(try Verification(of: model, against: source, tolerance: 0).holds)
    // Once in the form of mlx-lm, nothing is added again.
    #expect(try folder.rewrite(model, to: "2.mlx").allParts() == model.allParts())
  }

  @Test("an adapter for a norm that is stored plus 1 is refused") func norm() throws {
    let source = try folder.checkpoint(Self.hybridTensors, config: Self.hybrid)
    let name = "model.layers.0.input_layernorm"
    let adapter = try folder.applied(
      [], [Toy("base_model.model.\(name).weight", .f32, [8], seed: 430)],
      #""modules_to_save":["input_layernorm"]"#)
    let found = try folder.error([adapter], into: source, to: "1.mlx")
    #expect(found.error?.kind == .unsupported && found.isClean)
    #expect(found.error?.tensor == "\(name).weight")
  }

  @Test("a matrix that mlx-lm splits when it loads a model keeps its numbers") func split() throws {
    let names = ["self_attn.kv_b_proj", "self_attn.o_proj"]
    let tensors = names.enumerated().map {
      Toy("model.layers.0.\($0.element).weight", .f16, [64, 64], seed: UInt64(440 + $0.offset))
    }
    let source = try folder.checkpoint(tensors, config: #"{"model_type":"deepseek_v3"}"#)
    for (number, rules) in [[], ["*.kv_b_proj=8"]].enumerated() {
      let model = try folder.quantize(source, try .with(rules: rules), to: "\(number).mlx")
      let kept = try model.parts("model.layers.0.self_attn.kv_b_proj.weight")
      #expect(kept == [.values: tensors[0].bytes])
      #expect(try model.parts("model.layers.0.self_attn.o_proj.weight").count == 3)
    }
    let packed = try folder.quantize(source, Recipe(), to: "2.pleat")
    let model = try folder.rewrite(packed, to: "3.mlx")
    let index = try #require(model.index(of: "model.layers.0.self_attn.kv_b_proj.weight"))
    #expect(model.catalog.tensors[index].encoding == .plain(.f16))
    #expect(try Verification(of: model, against: packed, tolerance: 1e-3).holds)
  }

  @Test("rotary tables are left out") func tables() throws {
    let name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    let source = try folder.checkpoint(
      [Toy(name, .f32, [4], seed: 450), Toy("model.norm.weight", .f16, [8], seed: 451)],
      config: #"{"model_type":"mixtral"}"#)
    let model = try folder.rewrite(source, to: "1.mlx")
    #expect(model.catalog.tensors.map(\.name) == ["model.norm.weight"])
    #expect(try Verification(of: model, against: source, tolerance: 0).holds)
  }

  @Test("a missing expert, an additional one, and a name that occurs twice are malformed")
  func incomplete() throws {
    func experts(_ numbers: [Int], stack: Bool = false) throws -> Model {
      let paths = numbers.map { "model.layers.0.mlp.experts.\($0).up_proj" }
      let more = stack ? ["model.layers.0.mlp.switch_mlp.up_proj"] : []
      return try folder.checkpoint(
        (paths + more).map { Toy("\($0).weight", .f16, [4, 64], seed: 460) },
        config: #"{"model_type":"qwen2_moe","num_experts":3}"#, as: "source-\(numbers.count)")
    }
    for source in [try experts([0, 2]), try experts([0, 1, 2, 3])] {
      let found = try error { () throws(ModelError) in try folder.rewrite(source, to: "1.mlx") }
      #expect(found.kind == .malformed)
      #expect(found.tensor == "model.layers.0.mlp.switch_mlp.up_proj.weight")
      #expect(found.expected == "experts 0 to 2")
    }
    let twice = try experts([0, 1, 2], stack: true)
    let found = try error { () throws(ModelError) in try folder.rewrite(twice, to: "1.mlx") }
    #expect(found.kind == .malformed && found.what.contains("two tensors"))
  }

  @Test("what mlx-lm transposes is refused by name in groups")
  func refusals() throws {
    let name = "h.0.attn.c_attn.weight"
    let transposed = try folder.checkpoint(
      [Toy(name, .f16, [32, 64], seed: 470)], config: #"{"model_type":"gpt2"}"#, as: "1")
    #expect(try folder.rewrite(transposed, to: "2.mlx").catalog.tensors.map(\.name) == [name])
    let groups = try error { () throws(ModelError) in
      try folder.quantize(transposed, try .with(rules: ["*c_attn*=8"]), to: "3.mlx")
    }
    #expect(groups.kind == .unsupported && groups.tensor == name)
    #expect(groups.found?.contains("transposes") == true)
  }
}
