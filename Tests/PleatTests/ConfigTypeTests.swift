import Bytes
import Pleat
import TensorModel
import TestSupport
import Testing

/// Loaders cast the weights to the type that `config.json` states.
@Suite struct ConfigTypeTests {
  private let folder: Folder

  init() throws { folder = try Folder() }

  @Test("the type in config.json is that of the output, also in the configs of parts")
  func types() throws {
    let config = #"""
      {"torch_dtype":"bfloat16","text_config":{"dtype":"bfloat16","hidden_size":64},
       "thinker_config":{"text_config":{"torch_dtype":"float32"}},"vision_config":{"dtype":"auto"}}
      """#
    let path = try folder.scratch.checkpoint(
      [Toy("a.weight", .bf16, [3, 64], seed: 68)], config: config, as: "base")
    _ = try folder.rewrite(
      try Model.open(path), to: "out", .safetensors, decodingTo: .f16)
    #expect(
      try folder.document("out") == [
        "torch_dtype": "float16", "text_config": ["dtype": "float16", "hidden_size": 64],
        "thinker_config": ["text_config": ["torch_dtype": "float16"]],
        "vision_config": ["dtype": "auto"],
      ])
  }

  @Test("the type stays if tensors have several") func severalTypes() throws {
    let config = #"{"dtype":"bfloat16","text_config":{"dtype":"float32"}}"#
    let tensors = [
      Toy("a.weight", .bf16, [3, 64], seed: 69), Toy("b.weight", .f32, [2, 64], seed: 70),
    ]
    let path = try folder.scratch.checkpoint(tensors, config: config, as: "base")
    _ = try folder.rewrite(try Model.open(path), to: "out", .safetensors)
    #expect(
      try folder.document("out")
        == ["dtype": "bfloat16", "text_config": ["dtype": "float32"]])
  }
}
