import Bytes
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// The layers of towers in the configs that have to list what is not quantized.
@Suite struct TowerConfigTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private static let text = "model.layers.0.mlp.up_proj"
  private static let tower = [
    "model.visual.blocks.0.attn.proj", "model.visual.merger.mlp.2",
    "multi_modal_projector.linear_1",
  ]

  /// The object `quantization_config` of a model with a tower, quantized with rules.
  private func quantization(
    _ format: Format, rules: [String] = [], tower: [String] = tower
  ) throws -> JSONValue {
    let source = try folder.checkpoint(
      ([Self.text] + tower).enumerated().map {
        Toy("\($0.element).weight", .f16, [32, 128], seed: UInt64(740 + $0.offset))
      })
    let destination = Destination(path: folder.scratch.path("out"), format: format)
    try Run(
      try Plan.quantizing(source, try .with(rules: rules), to: destination), replacing: true)()
    return try #require(try folder.document("out")["quantization_config"])
  }

  @Test("awq names the words for towers, then the layers in them") func awq() throws {
    let kept = try quantization(.awq)["modules_to_not_convert"]
    #expect(
      kept
        == .array(
          (["visual", "multi_modal_projector"] + Self.tower + ["lm_head"]).map { .string($0) }))
  }

  @Test("awq leaves out the word of a tower that is quantized in part, or that occurs elsewhere")
  func partsOfAWQ() throws {
    let kept = try quantization(.awq, rules: ["*.merger.*=4"])["modules_to_not_convert"]
    let paths = ["multi_modal_projector", Self.tower[0], Self.tower[2], "lm_head"]
    #expect(kept == .array(paths.map { .string($0) }))
    let plain = try quantization(.awq, tower: ["mlp1.1", "dit.up", "model.layers.0.conditional"])
    let words = ["mlp1", "mlp1.1", "dit.up", "lm_head"]
    #expect(plain["modules_to_not_convert"] == .array(words.map { .string($0) }))
  }

  @Test("gptq excludes towers with and without numbers, under any words before them")
  func gptq() throws {
    let config = try quantization(.gptq)
    let rules = try #require(config["dynamic"]?.members).map(\.key)
    #expect(
      rules == [
        #"-:^(.*\.)?visual(\..*)?$"#, #"-:^(.*\.)?multi_modal_projector(\..*)?$"#,
        #"-:^model\.visual\.blocks\.0\.attn\.proj$"#, #"-:^model\.visual\.merger\.mlp\.2$"#,
        #"-:^multi_modal_projector\.linear_1$"#,
      ])
  }

  @Test("compressed-tensors ignores towers under any words before them") func ignored() throws {
    let expected =
      [#"re:(.*\.)?visual(\..*)?$"#, #"re:(.*\.)?multi_modal_projector(\..*)?$"#] + Self.tower
      + ["lm_head"]
    #expect(
      try quantization(.compressedTensors)["ignore"] == .array(expected.map { .string($0) }))
  }

  @Test("the checkpoint is read back with plain towers", arguments: ["gptq", "awq", "mlx"])
  func readBack(format: String) throws {
    _ = try quantization(try Formats.named(format))
    let model = try Model.open(folder.scratch.path("out"))
    #expect(model.catalog.tensors.filter(\.isGrouped).map(\.name) == [Self.text + ".weight"])
    #expect(model.catalog.tensors.count { $0.encoding == .plain(.f16) } == Self.tower.count)
  }
}
