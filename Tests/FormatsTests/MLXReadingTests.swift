import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// MLX folders as mlx-lm writes them.
@Suite struct MLXReadingTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  static let groups = Every.pair(of: [2, 3, 4, 5, 6, 8], [32, 64, 128])

  private func open(_ weights: [ToyMLX], _ more: [Toy] = [], config: String) throws -> Model {
    try Model.open(
      try scratch.checkpoint(weights.flatMap(\.tensors) + more, config: config, as: "model"))
  }

  private static func config(_ quantization: String) -> String {
    "{\"model_type\":\"llama\",\"quantization\":{\(quantization)}}"
  }

  private func expect(_ weight: ToyMLX, in model: Model) throws {
    let index = try #require(
      model.catalog.tensors.firstIndex { $0.name == "\(weight.path).weight" })
    let info = model.catalog.tensors[index]
    #expect(info.shape.dimensions == weight.shape)
    let grouping = Grouping(
      bits: weight.bits, groupSize: weight.groupSize, offset: .bias, parameters: weight.type)
    #expect(info.encoding == .grouped(grouping))
    #expect(try model.floats(of: index)?.bits == weight.values.bits)
  }

  @Test("the codes of a row are a bit stream, lowest bit first")
  func handWorked() throws {
    // Codes that repeat over a row of 32, and the bytes that store them.
    let cases: [(bits: Int, codes: [UInt8], bytes: [UInt8])] = [
      (2, [0, 1, 2, 3], [0b11_10_01_00]),
      (3, [0, 1, 2, 3, 4, 5, 6, 7], [0x88, 0xc6, 0xfa]),
      (4, [1, 14], [0xe1]),
      (5, [1, 2, 4, 8, 16, 0, 0, 31], [0x41, 0x10, 0x04, 0x01, 0xf8]),
      (6, [1, 2, 4, 63], [0x81, 0x40, 0xfc]),
      (8, [200, 7], [200, 7]),
    ]
    for (bits, codes, bytes) in cases {
      var weight = ToyMLX("a", [1, 32], bits: bits, seed: 1)
      weight.codes = (0..<32).map { codes[$0 % codes.count] }
      var tensors = weight.tensors
      tensors[0].bytes = (0..<4 * bits).map { bytes[$0 % bytes.count] }
      let config = Self.config("\"group_size\":32,\"bits\":\(bits)")
      let path = try scratch.checkpoint(tensors, config: config, as: "\(bits)")
      try expect(weight, in: try Model.open(path))
    }
  }

  @Test("all bits and group sizes are read, with every type of scales (seed 30)", arguments: groups)
  func groupings(bits: Int, size: Int) throws {
    for type in Grouping.supportedParameters {
      let weight = ToyMLX("a", [5, 256], bits: bits, groupSize: size, type: type, seed: 30)
      let config = Self.config("\"group_size\":\(size),\"bits\":\(bits),\"mode\":\"affine\"")
      let model = try open([weight], config: config)
      #expect(model.format == .mlx)
      #expect(model.catalog.tensors.count == 1)
      try expect(weight, in: model)
    }
  }

  @Test("a stack of experts has groups along its last dimension (seed 31)", arguments: groups)
  func stacks(bits: Int, size: Int) throws {
    let weight = ToyMLX(
      "mlp.switch_mlp.up_proj", [3, 5, 128], bits: bits, groupSize: size, seed: 31)
    let model = try open([weight], config: Self.config("\"group_size\":\(size),\"bits\":\(bits)"))
    try expect(weight, in: model)
  }

  @Test("a layer in the config has its own bits and groups, others have the default (seed 32)")
  func overrides() throws {
    let weights = [
      ToyMLX("a", [2, 128], bits: 4, groupSize: 64, seed: 32),
      ToyMLX("b.down_proj", [2, 128], bits: 6, groupSize: 32, seed: 33),
      ToyMLX("b", [2, 128], bits: 8, groupSize: 128, seed: 34),
      ToyMLX("b.down_proj.c", [2, 128], bits: 4, groupSize: 64, seed: 35),
    ]
    let config = Self.config(
      "\"b\":{\"bits\":8,\"group_size\":128,\"mode\":\"affine\"},\"group_size\":64,\"bits\":4,"
        + "\"b.down_proj\":{\"group_size\":32,\"bits\":6}")
    let model = try open(weights, config: config)
    for weight in weights { try expect(weight, in: model) }
  }

  @Test("bits and groups follow from known columns if the config states others (seed 44)")
  func knownColumns() throws {
    let weights = [
      ToyMLX("model.layers.0.mlp.gate_proj", [128, 192], bits: 8, groupSize: 32, seed: 44),
      ToyMLX("model.layers.0.mlp.down_proj", [3, 128], bits: 8, groupSize: 32, seed: 45),
      ToyMLX("model.layers.0.self_attn.q_proj", [2, 192], bits: 2, groupSize: 64, seed: 46),
      ToyMLX("model.layers.0.self_attn.o_proj", [2, 256], bits: 8, groupSize: 32, seed: 47),
      // No columns are known here.
      ToyMLX("a", [2, 128], bits: 4, groupSize: 64, seed: 48),
    ]
    let sizes = "\"hidden_size\":192,\"num_attention_heads\":4,\"head_dim\":64"
    let named = "\"language_model.model.layers.0.mlp.down_proj\":{\"bits\":8,\"group_size\":32}"
    let config = "{\(sizes),\"quantization\":{\"bits\":4,\"group_size\":64,\(named)}}"
    let model = try open(weights, config: config)
    for weight in weights { try expect(weight, in: model) }
  }

  @Test("the output of attention has a column for each row of queries of its layer (seed 53)")
  func ownHeads() throws {
    // With four heads of 32, half as many columns in 8 bits would have as many words and scales.
    let weights = [
      ToyMLX("model.layers.0.self_attn.q_proj", [128, 128], bits: 4, groupSize: 64, seed: 53),
      ToyMLX("model.layers.0.self_attn.o_proj", [2, 128], bits: 4, groupSize: 64, seed: 54),
      ToyMLX("model.layers.1.self_attn.q_proj", [256, 128], bits: 4, groupSize: 64, seed: 55),
      ToyMLX("model.layers.1.self_attn.o_proj", [2, 256], bits: 4, groupSize: 64, seed: 56),
    ]
    let sizes = "\"hidden_size\":128,\"num_attention_heads\":4,\"head_dim\":32"
    let type = "\"model_type\":\"gemma4_text\",\"global_head_dim\":64"
    let config = "{\(type),\(sizes),\"quantization\":{\"bits\":4,\"group_size\":64}}"
    let model = try open(weights, config: config)
    for weight in weights { try expect(weight, in: model) }
  }

  @Test("a layer that is true or false in the config is read as its tensors are stored")
  func truths() throws {
    let weight = ToyMLX("a", [2, 64], seed: 36)
    let plain = Toy("b.weight", .bf16, [2, 64], seed: 37)
    let config = Self.config("\"group_size\":32,\"bits\":4,\"b\":false,\"a\":true")
    let model = try open([weight], [plain], config: config)
    try expect(weight, in: model)
    #expect(model.catalog.tensors.last?.encoding == .plain(.bf16))
  }

  @Test("quantization_config is used if the config has no quantization")
  func otherKey() throws {
    let weight = ToyMLX("a", [2, 64], bits: 8, seed: 38)
    let own = "\"quantization_config\":{\"group_size\":32,\"bits\":8}"
    try expect(weight, in: try open([weight], config: "{\(own)}"))
    let other = "\"quantization_config\":{\"group_size\":64,\"bits\":2}"
    let both = "{\(other),\"quantization\":{\"group_size\":32,\"bits\":8}}"
    try expect(weight, in: try open([weight], config: both))
  }

  @Test("tensors may be in any order, among others with similar names (seed 39)")
  func order() throws {
    let weights = [ToyMLX("a", [2, 64], seed: 39), ToyMLX("a.b", [3, 64], seed: 40)]
    let others = [
      Toy("scales", .f16, [3], seed: 41), Toy("a.bias", .f16, [2], seed: 42),
      Toy("ids.weight", .u32, [2, 3], bytes: [UInt8](repeating: 7, count: 24)),
    ]
    let tensors = (weights.flatMap(\.tensors) + others).reversed()
    let path = try scratch.checkpoint(
      Array(tensors), config: Self.config("\"group_size\":32,\"bits\":4"), as: "model")
    let model = try Model.open(path)
    for weight in weights { try expect(weight, in: model) }
    #expect(
      Set(model.catalog.tensors.map(\.name))
        == ["a.weight", "a.b.weight", "scales", "a.bias", "ids.weight"])
  }

  @Test("the parts of a weight may be in different shards (seed 43)") func shards() throws {
    let weight = ToyMLX("a", [2, 64], seed: 43)
    for (number, tensor) in weight.tensors.enumerated() {
      try scratch.write(
        ToyFiles.safetensors([tensor]), as: "m/model-0000\(number + 1)-of-00003.safetensors")
    }
    try scratch.write(Self.config("\"group_size\":32,\"bits\":4"), as: "m/config.json")
    try expect(weight, in: try Model.open(scratch.path("m")))
    let map = weight.tensors.enumerated().map {
      "\"\($0.element.name)\":\"model-0000\($0.offset + 1)-of-00003.safetensors\""
    }
    let index = try scratch.write(
      "{\"weight_map\":{\(map.joined(separator: ","))}}", as: "m/model.safetensors.index.json")
    let model = try Model.open(index)
    #expect(model.format == .mlx)
    try expect(weight, in: model)
  }

  @Test(
    "a folder without an MLX quantization in its config is a plain checkpoint",
    arguments: [
      nil, "{}", "[]", "{", "{\"quantization\":null}", "{\"quantization\":{}}",
      "{\"quantization_config\":{}}",
    ])
  func otherConfigs(config: String?) throws {
    let weight = ToyMLX("a", [2, 64], seed: 44)
    let model = try Model.open(
      try scratch.checkpoint(weight.tensors, config: config, as: "model"))
    #expect(model.format == .safetensors)
    #expect(model.catalog.tensors.map(\.name) == ["a.weight", "a.scales", "a.biases"])
  }

  @Test("a single file is opened without its config, as plain tensors") func oneFile() throws {
    let weight = ToyMLX("a", [2, 64], seed: 45)
    let path = try scratch.checkpoint(
      weight.tensors, config: Self.config("\"group_size\":32,\"bits\":4"), as: "model")
    #expect(try Model.open(path).format == .mlx)
    let file = try Model.open(path + "/model.safetensors")
    #expect(file.format == .safetensors)
    #expect(file.catalog.tensors[0].encoding == .plain(.u32))
  }
}
