import Bytes
import Formats
import Pleat
import TestSupport
import Testing

/// Quantizing to MLX.
@Suite struct MLXQuantizationTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  /// The tensors of a model with weights of all roles.
  private static func tensors(_ type: ScalarType) -> [Toy] {
    [
      Toy("model.embed_tokens.weight", type, [7, 128], seed: 80),
      Toy("model.layers.0.q_proj.weight", type, [5, 128], seed: 81),
      Toy("model.layers.0.down_proj.weight", type, [3, 128], seed: 82),
      Toy("model.layers.0.switch_mlp.up_proj.weight", type, [2, 3, 128], seed: 83),
      Toy("model.layers.0.q_proj.bias", type, [5], seed: 84),
      Toy("model.norm.weight", type, [9], seed: 85),
      Toy("model.odd.weight", type, [2, 33], seed: 86),
      Toy("lm_head.weight", type, [7, 128], seed: 87),
      Toy("ids", .i64, [2], bytes: [UInt8](0..<16)),
    ]
  }

  private static func quantization(
    _ size: Int, _ bits: Int, _ layers: [JSONValue.Member] = []
  ) -> JSONValue {
    .object(
      [
        .init("group_size", JSONValue(size)), .init("bits", JSONValue(bits)),
        .init("mode", "affine"),
      ] + layers)
  }

  @Test(
    "embeddings, head and stacks are quantized like linear weights, in groups of 64")
  func defaults() throws {
    let source = try folder.checkpoint(Self.tensors(.f16))
    let model = try folder.quantize(source, Recipe(), to: "1.mlx")
    for tensor in model.catalog.tensors {
      let isGrouped = tensor.name.hasSuffix(".weight") && tensor.shape.columnCount == 128
      let grouping = Grouping(bits: 4, groupSize: 64, offset: .bias, parameters: .f16)
      let expected: Encoding =
        isGrouped ? .grouped(grouping) : .plain(tensor.name == "ids" ? .i64 : .f16)
      #expect(tensor.encoding == expected, "\(tensor.name)")
    }
    let document = try folder.document("1.mlx")
    #expect(document["quantization"] == Self.quantization(64, 4))
    #expect(document["quantization_config"] == Self.quantization(64, 4))
  }

  @Test(
    "codes, scales and biases are those of a pleat file",
    arguments: Every.pair(of: [2, 3, 4, 5, 6, 8], [32, 64, 128]))
  func parts(bits: Int, size: Int) throws {
    let source = try folder.checkpoint(Self.tensors(.f32))
    for type in Grouping.supportedParameters {
      let recipe = try Recipe.with(bits: bits, group: .columns(size), parameters: type)
      let model = try folder.quantize(source, recipe, to: "\(type.name).mlx")
      var packing = recipe
      packing.rules = [try Rule(text: "*=\(bits)")]
      let packed = try folder.quantize(source, packing, to: "\(type.name).pleat")
      #expect(
        try folder.document("\(type.name).mlx")["quantization"] == Self.quantization(size, bits))
      for tensor in packed.catalog.tensors where tensor.isGrouped {
        #expect(try model.parts(tensor.name) == packed.parts(tensor.name), "\(tensor.name)")
      }
      // Without the MLX codec: the plain tensors of the file, packed by the tests.
      let file = try Model.open(folder.scratch.path("\(type.name).mlx/model.safetensors"))
      let index = try #require(file.index(of: "lm_head.weight"))
      #expect(file.catalog.tensors[index].encoding == .plain(.u32))
      #expect(file.catalog.tensors[index].shape.dimensions == [7, 128 * bits / 32])
      let groups = try #require(try StoredGroups(packed, "lm_head.weight"))
      let codes = try file.parts("lm_head.weight")[.values]
      #expect(codes == ToyMLX.packed(groups.codes, bits: bits))
    }
  }

  @Test(
    "all floating-point numbers become F16 by default", arguments: [ScalarType.bf16, .f32])
  func oneType(type: ScalarType) throws {
    let source = try folder.checkpoint(Self.tensors(type))
    let model = try folder.quantize(source, Recipe(), to: "1.mlx")
    #expect(model.numberTypes == ["F16", "I64"])
    let toys = Dictionary(uniqueKeysWithValues: Self.tensors(type).map { ($0.name, $0) })
    for name in ["model.layers.0.q_proj.bias", "model.norm.weight", "model.odd.weight"] {
      let toy = try #require(toys[name])
      #expect(
        try model.parts(name) == [.values: Numbers.f16(Numbers.floats(toy.bytes, type))], "\(name)")
    }
  }

  @Test("--parameters sets the type of all numbers, and tensors of that type are unchanged")
  func chosenType() throws {
    let source = try folder.checkpoint(Self.tensors(.bf16))
    let model = try folder.quantize(source, try .with(parameters: .bf16), to: "1.mlx")
    #expect(model.numberTypes == ["BF16", "I64"])
    for name in ["model.layers.0.q_proj.bias", "model.norm.weight", "model.odd.weight"] {
      #expect(try model.parts(name) == source.parts(name))
    }
    let wide = try folder.quantize(source, try .with(parameters: .f32), to: "2.mlx")
    #expect(wide.numberTypes == ["F32", "I64"])
    // In a pleat file, plain tensors keep their own type.
    let packed = try folder.quantize(source, Recipe(), to: "3.pleat")
    #expect(packed.numberTypes == ["BF16", "F16", "I64"])
  }

  @Test("a rule with a plain type sets the type of its tensors")
  func namedType() throws {
    for type in [ScalarType.f16, .bf16, .f32] {
      let source = try folder.checkpoint(Self.tensors(type), as: type.name)
      let model = try folder.quantize(
        source, try .with(parameters: .bf16, rules: ["*norm*=F16"]), to: "\(type.name).mlx")
      let index = try #require(model.index(of: "model.norm.weight"))
      #expect(model.catalog.tensors[index].encoding == .plain(.f16), "\(type.name)")
    }
  }

  @Test("F64 is rounded to the type of the other tensors") func doubles() throws {
    let one = Numbers.little((1.5).bitPattern)
    let source = try folder.checkpoint(
      Self.tensors(.f16) + [Toy("rotary.inv_freq", .f64, [2], bytes: one + one)])
    let model = try folder.quantize(source, Recipe(), to: "1.mlx")
    #expect(try model.parts("rotary.inv_freq") == [.values: Numbers.f16([1.5, 1.5])])
  }

  @Test("layers with their own bits or groups are in the config and read back")
  func layers() throws {
    let source = try folder.checkpoint(Self.tensors(.f16))
    let model = try folder.quantize(
      source, try .with(bits: 3, rules: ["*.down_proj=8:32", "lm_head=6:128"]), to: "1.mlx")
    let down: JSONValue.Member = .init("model.layers.0.down_proj", Self.quantization(32, 8))
    let head: JSONValue.Member = .init("lm_head", Self.quantization(128, 6))
    #expect(
      try folder.document("1.mlx")["quantization"] == Self.quantization(64, 3, [down, head]))
    var groupings: [String: [Int]] = [:]
    for tensor in model.catalog.tensors {
      if case .grouped(let grouping) = tensor.encoding {
        groupings[tensor.name] = [grouping.bits, grouping.groupSize]
      }
    }
    #expect(
      groupings == [
        "model.embed_tokens.weight": [3, 64], "model.layers.0.q_proj.weight": [3, 64],
        "model.layers.0.down_proj.weight": [8, 32],
        "model.layers.0.switch_mlp.up_proj.weight": [3, 64], "lm_head.weight": [6, 128],
      ])
    #expect(
      try Verification(
        of: model, against: try folder.rewrite(model, to: "2.pleat", .pleat), tolerance: 0
      )
      .holds)
  }

  @Test(
    "of equally frequent groups the config has the narrower as default", arguments: [2, 3, 8])
  func ties(bits: Int) throws {
    let tensors = ["a", "b", "c", "d"].enumerated().map { index, name in
      Toy("\(name).weight", .f16, [2, 128], seed: UInt64(90 + index))
    }
    let source = try folder.checkpoint(tensors)
    _ = try folder.quantize(
      source, try .with(bits: bits, rules: ["a=5:64", "d=5:64"]), to: "1.mlx")
    let common = try folder.document("1.mlx")["quantization"]
    #expect(common?["bits"]?.int == min(bits, 5))
    #expect(common?["group_size"]?.int == 64)
    #expect(common?.members?.count == 5)
  }

  @Test("recipes that MLX does not support are refused before any weight is read")
  func impossible() throws {
    let source = try folder.checkpoint(Self.tensors(.f16))
    for recipe in [
      try Recipe.with(group: .columns(16)), try .with(group: .columns(256)),
      try .with(group: .row), try .with(scheme: "symmetric"), try .with(scheme: "zeropoint"),
      try .with(rules: ["*=Q8_0"]), try .with(rules: ["*=4:16"]),
    ] {
      let error = Laws.error { () throws(ModelError) in
        try folder.quantize(source, recipe, to: "1.mlx")
      }
      #expect(error?.kind == .usage, "\(recipe)")
    }
    #expect(try folder.scratch.names() == ["source"])
  }

  @Test("a stack without the suffix .weight is refused by name, unless a rule keeps it")
  func unnamedStacks() throws {
    let source = try folder.checkpoint([
      Toy("a.weight", .f16, [2, 64], seed: 96), Toy("experts.up", .f16, [2, 3, 64], seed: 97),
    ])
    let error = Laws.error { () throws(ModelError) in
      try folder.quantize(source, Recipe(), to: "1.mlx")
    }
    #expect(error?.kind == .unsupported)
    #expect(error?.tensor == "experts.up")
    let model = try folder.quantize(source, try .with(rules: ["experts.*=keep"]), to: "1.mlx")
    #expect(try model.parts("experts.up") == source.parts("experts.up"))
  }

  @Test("the keys of another quantization are removed from the config")
  func otherKeys() throws {
    let config =
      #"{"quantization_config":{"method":"fp8"},"a":1,"quantization":null,"b":2}"#
    let source = try folder.checkpoint(Self.tensors(.f16), config: config)
    _ = try folder.quantize(source, Recipe(), to: "1.mlx")
    #expect(try folder.keys("1.mlx") == ["a", "b", "quantization", "quantization_config"])
    #expect(try folder.document("1.mlx")["quantization_config"] == Self.quantization(64, 4))
    // A model of plain tensors is not quantized, whatever its config says.
    _ = try folder.rewrite(source, to: "2.mlx")
    #expect(try folder.keys("2.mlx") == ["a", "b"])
  }

  @Test("an MLX model is quantized again only with --requantize") func again() throws {
    let source = try folder.checkpoint(Self.tensors(.f16))
    let model = try folder.quantize(source, Recipe(), to: "1.mlx")
    let error = Laws.error { () throws(ModelError) in
      try folder.quantize(model, Recipe(), to: "2.mlx")
    }
    #expect(error?.kind == .unsupported)
    #expect(error?.hint?.contains("--requantize") == true)
    let destination = Destination(path: folder.scratch.path("3.mlx"), format: .mlx)
    try Run(
      try Plan.quantizing(model, try .with(bits: 8), to: destination, requantizing: true))()
    #expect(try folder.document("3.mlx")["quantization"] == Self.quantization(64, 8))
  }

  @Test("a plan knows the size of every file, with the config") func sizes() throws {
    let source = try folder.checkpoint(Self.tensors(.f16))
    for shardByteCount in [nil, 500] {
      let path = folder.scratch.path("out-\(shardByteCount ?? 0)")
      let plan = try Plan.quantizing(
        source, try .with(rules: ["lm_head=8"]),
        to: Destination(path: path, format: .mlx, shardByteCount: shardByteCount))
      try Run(plan)()
      let sizes = try plan.fileNames.map { try Files.byteCount(of: "\(path)/\($0)") }
      #expect(plan.isExact && plan.byteCount == sizes.reduce(0, +))
      #expect(try Files.names(in: path) == plan.fileNames.sorted())
    }
  }
}
