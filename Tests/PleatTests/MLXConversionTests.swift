import Bytes
import Formats
import Pleat
import TestSupport
import Testing

/// Conversions from and to MLX.
@Suite struct MLXConversionTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private static let weights = [
    ToyMLX("b", [5, 64], seed: 60), ToyMLX("a.down_proj", [3, 128], seed: 61),
    ToyMLX("experts", [2, 3, 64], seed: 62),
  ]

  private static let plain = [
    Toy("norm.weight", .bf16, [7], seed: 63), Toy("a.bias", .f16, [3], seed: 64),
    Toy("ids", .i64, [2], bytes: [UInt8](0..<16)), Toy("empty", .f32, [0, 4], seed: 65),
  ]

  @Test(
    "an MLX folder goes through a pleat file and back, byte for byte", arguments: [false, true])
  func roundTrip(compresses: Bool) throws {
    let source = try folder.mlx(Self.weights, Self.plain)
    try folder.scratch.write("{\"a\": 1}", as: "base/tokenizer.json")
    // The first conversion writes the files as Pleat orders them.
    let first = try folder.rewrite(try Model.open(source.path), to: "1.mlx")
    let packed = try folder.rewrite(first, to: "2.pleat", .pleat, compresses: compresses)
    let second = try folder.rewrite(packed, to: "3.mlx")
    #expect(try folder.files("3.mlx") == folder.files("1.mlx"))
    #expect(
      try folder.scratch.names(in: "3.mlx")
        == ["config.json", "model.safetensors", "tokenizer.json"])
    #expect(try second.allParts() == source.allParts())
    for weight in Self.weights {
      let groups = try #require(try StoredGroups(second, "\(weight.path).weight"))
      #expect(groups.codes == weight.codes)
      #expect(groups.scales == weight.scales.map(Double.init))
      #expect(groups.offsets == weight.biases.map(Double.init))
    }
    #expect(try Verification(of: packed, against: source, tolerance: 0).holds)
  }

  @Test("a pleat file of an MLX model has the same parts and no MLX keys in its config")
  func packed() throws {
    let source = try folder.mlx(Self.weights, Self.plain)
    let packed = try folder.rewrite(source, to: "2.pleat", .pleat)
    #expect(try packed.allParts() == source.allParts())
    let config = try #require(try packed.companion(named: "config.json"))
    #expect(
      try JSONParser.parse(config, file: "config.json") == [
        "model_type": "llama", "eos": [1, 2],
      ])
    #expect(packed.catalog.metadata["format"] == nil)
  }

  @Test("decoding an MLX model keeps all config keys but those of MLX")
  func decoding() throws {
    let weight = ToyMLX("a", [5, 64], seed: 66)
    let own = [#""z":1"#, #""a":1e-05"#, #""m":{"quantization":1}"#, #""ü":[true,null]"#]
    let quantization = #"{"group_size":32,"bits":4,"b":false}"#
    let members = [
      own[0], "\"quantization\":\(quantization)", own[1], own[2],
      "\"quantization_config\":\(quantization)", own[3],
    ]
    let path = try folder.scratch.checkpoint(
      weight.tensors, config: "{\(members.joined(separator: ","))}", as: "base")
    let decoded = try folder.rewrite(
      try Model.open(path), to: "out", .safetensors, decodingTo: .f32)
    #expect(decoded.format == .safetensors)
    #expect(try folder.keys("out") == ["z", "a", "m", "ü"])
    let rest = Array("{\(own.joined(separator: ","))}".utf8)
    #expect(try folder.document("out") == JSONParser.parse(rest, file: "config.json"))
    let parts = try decoded.parts("a.weight")
    #expect(parts[.values] == Numbers.f32(weight.values))
    #expect(decoded.catalog.metadata["format"]?.text == "pt")
  }

  @Test("a config that passes through mlx keeps its exact text")
  func configText() throws {
    let source = try folder.checkpoint([Toy("a.weight", .f16, [3, 64], seed: 67)])
    let quantized = try folder.quantize(source, Recipe(), to: "1.mlx")
    #expect(
      try folder.keys("1.mlx")
        == folder.keys("source") + ["quantization", "quantization_config"])
    _ = try folder.rewrite(quantized, to: "out", .safetensors)
    let text = try folder.scratch.bytes(of: "out/config.json")
    #expect(String(decoding: text, as: UTF8.self) == Folder.config)
  }

  @Test("plain tensors and their config are converted to mlx byte for byte")
  func plainNumbers() throws {
    let source = try folder.checkpoint(Self.plain)
    let model = try folder.rewrite(source, to: "1.mlx")
    #expect(try folder.files("1.mlx")["config.json"] == Array(Folder.config.utf8))
    #expect(try model.allParts() == source.allParts())
    #expect(model.catalog.metadata["format"]?.text == "mlx")
  }

  @Test("the metadata says mlx and keeps the other entries of the source") func metadata() throws {
    let tensors = [Toy("a.weight", .f16, [3, 64], seed: 68)]
    try folder.scratch.write(
      ToyFiles.safetensors(tensors, metadata: [("format", "pt"), ("note", "ü"), ("a", "b")]),
      as: "source/model.safetensors")
    try folder.scratch.write("{}", as: "source/config.json")
    let source = try Model.open(folder.scratch.path("source"))
    let model = try folder.quantize(source, Recipe(), to: "1.mlx")
    let texts = Dictionary(
      uniqueKeysWithValues: model.catalog.metadata.entries.map { ($0.key, $0.value.text) })
    #expect(texts == ["a": "b", "format": "mlx", "note": "ü"])
    let back = try folder.rewrite(model, to: "out", .safetensors)
    #expect(back.catalog.metadata["format"]?.text == "pt")
    #expect(back.catalog.metadata["note"]?.text == "ü")
  }

  @Test("shards have an index, and the parts of a weight may be in different shards")
  func shards() throws {
    let source = try folder.mlx(Self.weights, Self.plain)
    let destination = Destination(
      path: folder.scratch.path("out"), format: .mlx, shardByteCount: 100)
    try Run(try Plan.converting(source, to: destination))()
    let names = try folder.scratch.names(in: "out")
    #expect(names.contains("model.safetensors.index.json"))
    #expect(names.count { $0.hasPrefix("model-000") } > Self.weights.count)
    for path in ["out", "out/model.safetensors.index.json"] {
      let model = try Model.open(folder.scratch.path(path))
      #expect(model.format == .mlx)
      #expect(try model.allParts() == source.allParts())
    }
  }

  // MARK: - Refusals

  /// The error of a conversion; it must leave no files.
  private func error(_ model: Model, to name: String, _ format: Format = .mlx) throws -> ModelError
  {
    let before = try folder.scratch.names()
    let error = Laws.error { () throws(ModelError) in
      try folder.rewrite(model, to: name, format)
    }
    #expect(try folder.scratch.names() == before)
    return try #require(error)
  }

  @Test("a model without config.json cannot become an MLX folder") func configless() throws {
    let tensors = [Toy("a.weight", .f16, [3, 64], seed: 69)]
    let plain = try Models.make(tensors, in: folder.scratch)
    let packed = try folder.rewrite(plain, to: "1.pleat", .pleat)
    for model in [plain, packed] {
      let refusal = try error(model, to: "out")
      #expect(refusal.kind == .unsupported, "\(model.path)")
      #expect(refusal.description.contains("config.json"), "\(model.path)")
      let quantizing = Laws.error { () throws(ModelError) in
        try folder.quantize(model, Recipe(), to: "out.mlx")
      }
      #expect(quantizing?.kind == .unsupported, "\(model.path)")
    }
  }

  @Test("a config.json that is not an object is refused", arguments: ["[]", "1", "\"a\"", "null"])
  func noObject(config: String) throws {
    let tensors = [Toy("a.weight", .f16, [3, 64], seed: 70)]
    let source = try folder.checkpoint(tensors, config: config)
    let refusal = try error(source, to: "out")
    #expect(refusal.kind == .unsupported || refusal.kind == .malformed)
    #expect(refusal.description.contains("config.json"))
  }

  @Test("an MLX model cannot be written as a single file", arguments: [nil, 1000])
  func singleFile(shardByteCount: Int?) throws {
    let source = try folder.checkpoint([Toy("a.weight", .f16, [3, 64], seed: 71)])
    let destination = Destination(
      path: folder.scratch.path("x.safetensors"), format: .mlx, shardByteCount: shardByteCount)
    let errors = [
      Laws.error { () throws(ModelError) in try Plan.converting(source, to: destination) },
      Laws.error { () throws(ModelError) in
        try Plan.quantizing(source, Recipe(), to: destination)
      },
    ]
    for error in errors {
      #expect(error?.kind == .usage)
      #expect(error?.what.contains("mlx needs a folder") == true)
    }
    #expect(try folder.scratch.names() == ["source"])
  }

  @Test("group sizes that MLX lacks are refused, and --dtype decodes them", arguments: [16, 256])
  func groups(size: Int) throws {
    let source = try folder.checkpoint([Toy("a.weight", .f16, [3, 256], seed: 72)])
    let packed = try folder.quantize(source, try .with(group: .columns(size)), to: "1.pleat")
    let refusal = try error(packed, to: "out")
    #expect(refusal.kind == .unsupported)
    #expect(refusal.tensor == "a.weight")
    #expect(refusal.what.contains("32, 64, 128"))
    #expect(refusal.hint?.contains("--dtype F16") == true)
    let decoded = try folder.rewrite(packed, to: "out", .mlx, decodingTo: .f16)
    #expect(decoded.catalog.tensors.map(\.encoding) == [.plain(.f16)])
  }

  @Test(
    "symmetric groups get an exact bias (seed 74)",
    arguments: Every.pair(of: [2, 3, 4, 5, 6, 8], Grouping.supportedParameters))
  func centralBiases(bits: Int, type: ScalarType) throws {
    let source = try folder.checkpoint([Toy("a.weight", .f32, [3, 64], seed: 74)])
    let packed = try folder.quantize(
      source, try .with(bits: bits, scheme: "symmetric", parameters: type), to: "1.pleat")
    let model = try folder.rewrite(packed, to: "out")
    let (before, after) = (
      try #require(try StoredGroups(packed, "a.weight")),
      try #require(try StoredGroups(model, "a.weight"))
    )
    #expect(after.grouping.offset == .bias && after.grouping.parameters == type)
    #expect(after.codes == before.codes && after.scales == before.scales)
    #expect(after.offsets == before.offsets)
    // A product of a code and an F32 scale is rounded; with a 16-bit scale it is exact.
    let tolerance = type == .f32 ? 1e-6 : 0
    #expect(try Verification(of: model, against: packed, tolerance: tolerance).holds)
  }

  @Test("zero points become biases that are rounded once (seed 75)")
  func zeroPoints() throws {
    let source = try folder.checkpoint([Toy("a.weight", .f32, [3, 64], seed: 75)])
    let packed = try folder.quantize(source, try .with(scheme: "zeropoint"), to: "1.pleat")
    let destination = Destination(path: folder.scratch.path("out"), format: .mlx)
    try Run(try Plan.converting(packed, to: destination))()
    let (before, after) = (
      try #require(try StoredGroups(packed, "a.weight")),
      try #require(try StoredGroups(try Model.open(destination.path), "a.weight"))
    )
    #expect(after.codes == before.codes && after.scales == before.scales)
    #expect(
      after.offsets == Numbers.rounded(before.offsets.map(Float.init), to: .f16).map(Double.init))
  }

  @Test("F64 is refused, and the --dtype of the hint works") func doubles() throws {
    let bytes = [UInt8](repeating: 0, count: 8 * 64)
    let source = try folder.checkpoint([Toy("a.weight", .f64, [1, 64], bytes: bytes)])
    let refusal = try error(source, to: "out")
    #expect(refusal.kind == .unsupported)
    #expect(refusal.tensor == "a.weight")
    #expect(refusal.hint == "pleat convert --dtype F16 decodes it")
    let decoded = try folder.rewrite(source, to: "out", .mlx, decodingTo: .f16)
    #expect(decoded.catalog.tensors.map(\.encoding) == [.plain(.f16)])
  }

  @Test("a quantized tensor without the suffix .weight is refused") func names() throws {
    let source = try folder.checkpoint([Toy("experts.gate_up", .f16, [2, 3, 64], seed: 73)])
    let packed = try folder.quantize(source, Recipe(), to: "1.pleat")
    let refusal = try error(packed, to: "out")
    #expect(refusal.kind == .unsupported)
    #expect(refusal.tensor == "experts.gate_up")
  }
}
