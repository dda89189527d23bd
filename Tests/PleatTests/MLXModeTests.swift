import Bytes
import Formats
import Kernels
import Pleat
import TensorModel
import TestSupport
import Testing

/// Quantizing in the modes of MLX whose codes are numbers themselves.
@Suite struct MLXModeTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private static func tensors(_ type: ScalarType) -> [Toy] {
    [
      Toy("model.embed_tokens.weight", type, [7, 128], seed: 720),
      Toy("model.layers.0.q_proj.weight", type, [5, 128], seed: 721),
      Toy("model.layers.0.down_proj.weight", type, [3, 128], seed: 722),
      Toy("model.layers.0.switch_mlp.up_proj.weight", type, [2, 3, 128], seed: 723),
      Toy("model.norm.weight", type, [9], seed: 724),
      Toy("model.odd.weight", type, [2, 40], seed: 725),
      Toy("lm_head.weight", type, [7, 128], seed: 726),
    ]
  }

  private static func recipe(
    _ mode: ScaledMode, rules: [String] = [], parameters: ScalarType? = nil
  ) throws(ModelError) -> Recipe {
    var recipe = Recipe()
    recipe.mode = mode
    recipe.parameters = parameters
    for rule in rules { recipe.rules.append(try Rule(text: rule)) }
    return recipe
  }

  private static func quantization(_ mode: ScaledMode) -> [JSONValue.Member] {
    [
      .init("group_size", JSONValue(mode.groupSize)), .init("bits", JSONValue(mode.bits)),
      .init("mode", .string(mode.name)),
    ]
  }

  /// The kernel's codes and scales of a toy.
  private static func encoded(
    _ toy: Toy, _ type: ScalarType, _ mode: ScaledMode
  ) throws -> [PartRole: [UInt8]] {
    let values = Numbers.floats(toy.bytes, type)
    var codes = [UInt8](repeating: 0, count: values.count * mode.bits / 8)
    var scales = [UInt8](repeating: 0, count: values.count / mode.groupSize)
    var codeSpan = codes.mutableSpan
    var codeBytes = codeSpan.mutableBytes
    var scaleSpan = scales.mutableSpan
    var scaleBytes = scaleSpan.mutableBytes
    try ScaledKernel(mode, arithmetic: FloatFormat(type)).encode(
      values.span, codes: &codeBytes, scales: &scaleBytes)
    return [.codes: codes, .scales: scales]
  }

  @Test(
    "weights get the mode, other numbers keep their type, and the config names the mode",
    arguments: ScaledMode.allCases, Grouping.supportedParameters)
  func folders(mode: ScaledMode, type: ScalarType) throws {
    let source = try folder.checkpoint(Self.tensors(type))
    let model = try folder.quantize(source, Self.recipe(mode), to: "1.mlx")
    var codes = mode.codes
    codes.decoded = type
    for toy in Self.tensors(type) {
      guard toy.name != "model.norm.weight", toy.name != "model.odd.weight" else {
        #expect(try model.parts(toy.name) == [.values: toy.bytes])
        continue
      }
      let index = try #require(model.index(of: toy.name))
      #expect(model.catalog.tensors[index].encoding == .scaled(codes))
      #expect(try model.parts(toy.name) == Self.encoded(toy, type, mode), "\(toy.name)")
    }
    let document = try folder.document("1.mlx")
    #expect(document["quantization"] == .object(Self.quantization(mode)))
    #expect(document["quantization_config"] == document["quantization"])
  }

  @Test("by way of a pleat file, the folder is the same", arguments: ScaledMode.allCases)
  func byWayOfPleat(mode: ScaledMode) throws {
    let source = try folder.checkpoint(Self.tensors(.bf16))
    _ = try folder.quantize(source, Self.recipe(mode), to: "direct.mlx")
    // Pleat files keep embeddings and heads, unless a rule names them.
    let rules = ["*embed_tokens=\(mode.name)", "lm_head=\(mode.name.uppercased())"]
    for compresses in [false, true] {
      let name = "\(compresses).pleat"
      let packed = try folder.quantize(
        source, Self.recipe(mode, rules: rules), to: name, compresses: compresses)
      let plain = try folder.quantize(source, Self.recipe(mode), to: "kept.\(name)")
      let index = try #require(plain.index(of: "lm_head.weight"))
      #expect(plain.catalog.tensors[index].encoding == .plain(.bf16))
      _ = try folder.rewrite(packed, to: "\(compresses).mlx")
      #expect(try folder.files("\(compresses).mlx") == folder.files("direct.mlx"))
    }
  }

  @Test("layers with another mode, or with groups, are in the config and read back")
  func mixed() throws {
    let source = try folder.checkpoint(Self.tensors(.bf16))
    let model = try folder.quantize(
      source,
      Self.recipe(.nvfp4, rules: ["*.down_proj=mxfp8", "lm_head=8:64", "*.q_proj=MXFP4"]),
      to: "1.mlx")
    let head: [JSONValue.Member] = [
      .init("group_size", 64), .init("bits", 8), .init("mode", "affine"),
    ]
    #expect(
      try folder.document("1.mlx")["quantization"]
        == .object(
          Self.quantization(.nvfp4) + [
            .init("model.layers.0.q_proj", .object(Self.quantization(.mxfp4))),
            .init("model.layers.0.down_proj", .object(Self.quantization(.mxfp8))),
            .init("lm_head", .object(head)),
          ]))
    func encoding(_ name: String) -> Encoding? {
      model.catalog.tensors.first { $0.name == name }?.encoding
    }
    // Scales and biases get the type of the weights, as in MLX.
    #expect(
      encoding("lm_head.weight")
        == .grouped(Grouping(bits: 8, groupSize: 64, offset: .bias, parameters: .bf16)))
    #expect(encoding("model.layers.0.q_proj.weight")?.description == ScaledCodes.mxfp4.description)
    let plain = Self.tensors(.bf16)[2]
    #expect(try model.parts(plain.name) == Self.encoded(plain, .bf16, .mxfp8))
  }

  @Test("a rule for a mode does not need a recipe with one, and MXFP4 is the format's own")
  func rules() throws {
    let source = try folder.checkpoint(Self.tensors(.f16))
    let toy = Self.tensors(.f16)[1]
    let rules = ["*.q_proj=mxfp4", "*.down_proj=nvfp4"]
    let model = try folder.quantize(source, .with(rules: rules), to: "1.mlx")
    #expect(try model.parts(toy.name) == Self.encoded(toy, .f16, .mxfp4))
    #expect(
      try folder.document("1.mlx")["quantization"]?["model.layers.0.down_proj"]
        == .object(Self.quantization(.nvfp4)))
    // A pleat file has the blocks of llama.cpp, which has another MXFP4.
    let packed = try folder.quantize(source, .with(rules: rules), to: "1.pleat")
    let index = try #require(packed.index(of: toy.name))
    #expect(packed.catalog.tensors[index].encoding == BlockType.mxfp4.encoding)
    let own = try folder.quantize(source, Self.recipe(.mxfp8, rules: rules), to: "2.pleat")
    #expect(try own.parts(toy.name) == Self.encoded(toy, .f16, .mxfp4))
  }

  @Test("--parameters sets the type of plain numbers, and not that of the arithmetic")
  func parameters() throws {
    let source = try folder.checkpoint(Self.tensors(.f32))
    let model = try folder.quantize(
      source, Self.recipe(.mxfp8, parameters: .bf16), to: "1.mlx")
    let toy = Self.tensors(.f32)[1]
    #expect(try model.parts(toy.name) == Self.encoded(toy, .f32, .mxfp8))
    let index = try #require(model.index(of: "model.norm.weight"))
    #expect(model.catalog.tensors[index].encoding == .plain(.bf16))
  }

  @Test("F64 becomes F32 beside a mode") func doubles() throws {
    let source = try folder.checkpoint(
      Self.tensors(.f32) + [
        Toy("rotary.inv_freq", .f64, [1], bytes: Numbers.little((1.5).bitPattern))
      ])
    let model = try folder.quantize(source, Self.recipe(.mxfp4), to: "1.mlx")
    #expect(try model.parts("rotary.inv_freq") == [.values: Numbers.bytes([1.5], .f32)])
  }

  @Test("weights in the mode already keep their codes, and others need --requantize")
  func again() throws {
    let source = try folder.checkpoint(Self.tensors(.bf16))
    let model = try folder.quantize(source, Self.recipe(.mxfp4), to: "1.mlx")
    // The odd weight cannot be quantized.
    _ = try folder.quantize(model, Self.recipe(.mxfp4), to: "2.mlx")
    #expect(try folder.files("2.mlx") == folder.files("1.mlx"))
    let error = Laws.error { () throws(ModelError) in
      try folder.quantize(model, Self.recipe(.nvfp4), to: "3.mlx")
    }
    #expect(error?.kind == .unsupported && error?.hint?.contains("--requantize") == true)
  }

  @Test(
    "what a mode determines cannot be chosen",
    arguments: [
      #"{"mode":"mxfp4","bits":8}"#, #"{"mode":"mxfp8","bits":4}"#,
      #"{"mode":"nvfp4","groupSize":32}"#, #"{"mode":"mxfp4","groupSize":"row"}"#,
      #"{"mode":"mxfp4","offset":"none"}"#, #"{"mode":"mxfp4","scheme":"search"}"#,
      #"{"mode":"mxfp4","effort":"best"}"#, #"{"mode":"mxfp4","type":"MXFP4_MOE"}"#,
      #"{"mode":"affine"}"#, #"{"mode":"fp4"}"#,
    ])
  func conflicts(text: String) throws {
    let error = Laws.error { () throws(ModelError) in
      try Recipe(try JSONParser.parse(Array(text.utf8), file: "recipe"))
    }
    #expect(error?.kind == .usage)
  }

  @Test("a recipe with a mode is unchanged by writing and reading its JSON")
  func json() throws {
    let text = #"{"mode":"NVFP4","bits":4,"groupSize":16,"rules":[{"match":"a","to":"mxfp8"}]}"#
    let recipe = try Recipe(try JSONParser.parse(Array(text.utf8), file: "recipe"))
    #expect(recipe.mode == .nvfp4 && recipe.rules[0].choice == .mode(.mxfp8))
    #expect(try Recipe(recipe.json) == recipe)
  }

  @Test("other formats refuse modes", arguments: Formats.all.filter { !$0.bits.isEmpty })
  func formats(format: Format) throws {
    guard format != .mlx, format != .pleat else { return }
    let source = try folder.checkpoint(Self.tensors(.f16))
    for recipe in [try Self.recipe(.mxfp4), try .with(rules: ["*=mxfp8"])] {
      let error = Laws.error { () throws(ModelError) in
        _ = try Plan.quantizing(
          source, recipe, to: Destination(path: folder.scratch.path("out"), format: format))
      }
      #expect(error?.kind == .usage)
      #expect(error?.expected == "--to mlx or --to pleat")
    }
  }

  @Test("weights that are too large stop the run, with their place") func tooLarge() throws {
    var values = [Float](repeating: 1, count: 64)
    values[40] = 3000
    let source = try folder.checkpoint([
      Toy("a.weight", .f32, [2, 32], bytes: Numbers.bytes(values, .f32))
    ])
    let error = Laws.error { () throws(ModelError) in
      try folder.quantize(source, Self.recipe(.nvfp4), to: "1.mlx")
    }
    #expect(error?.kind == .unsupported && error?.tensor == "a.weight")
    #expect(error?.found == "weights from 1.0 to 3000.0 in row 1, column 0")
    #expect(error?.hint?.contains("=keep") == true)
    _ = try folder.quantize(source, Self.recipe(.mxfp4), to: "2.mlx")
    values[40] = .nan
    let broken = try folder.checkpoint(
      [Toy("a.weight", .f32, [2, 32], bytes: Numbers.bytes(values, .f32))], as: "broken")
    let other = Laws.error { () throws(ModelError) in
      try folder.quantize(broken, Self.recipe(.mxfp4), to: "3.mlx")
    }
    #expect(other?.kind == .malformed && other?.found == "nan in row 1, column 8")
  }
}
