import Kernels
import Pleat
import TestSupport
import Testing

@Suite struct ConversionTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func convert(
    _ model: Model, to name: String, decodingTo type: ScalarType? = nil, rounding: Bool = false
  ) throws(ModelError) -> Model {
    let format = try Formats.named(Files.suffix(of: name))
    let plan = try Plan.converting(
      model, decodingTo: type, to: Destination(path: scratch.path(name), format: format),
      rounding: rounding)
    try Run(plan)()
    return try Model.open(scratch.path(name))
  }

  private func quantize(
    _ model: Model, to name: String, _ recipe: Recipe
  ) throws(ModelError) -> Model {
    let format = try Formats.named(Files.suffix(of: name))
    try Run(
      try Plan.quantizing(
        model, recipe, to: Destination(path: scratch.path(name), format: format)))()
    return try Model.open(scratch.path(name))
  }

  private func gguf() throws -> Model {
    let tensors: [(Toy, typeNumber: UInt32)] = [
      (Toy("token_embd.weight", .f16, [7, 64], seed: 1), 1),
      (Toy("norm.weight", .f32, [9], seed: 2), 0),
      (Toy("blk.0.up.weight", .f16, [5, 64], seed: 3), 1),
      (Toy("blk.0.down.weight", .f32, [2, 96], seed: 4), 0),
    ]
    return try Model.open(
      try scratch.write(
        ToyFiles.gguf(
          tensors, metadata: [("general.architecture", "llama"), ("general.name", "ü")]),
        as: "source.gguf"))
  }

  @Test(
    "converting a quantized model to safetensors decodes its weights and rounds to F16",
    arguments: Grouping.supportedBits)
  func decoding(bits: Int) throws {
    let source = try Models.make([Toy("a.weight", .f16, [40, 64], seed: 1)], in: scratch)
    let model = try quantize(source, to: "a.pleat", try .with(bits: bits))
    let exact = try #require(try model.floats(in: scratch)["a.weight"])
    let found = try convert(model, to: "b.safetensors")
    #expect(found.catalog.tensors.map(\.encoding) == [.plain(.f16)])
    let bytes = try scratch.bytes(of: "b.safetensors").suffix(40 * 64 * 2)
    #expect(Array(bytes) == Numbers.f16(exact))
    let wide = try convert(model, to: "c.safetensors", decodingTo: .bf16)
    #expect(wide.catalog.tensors.map(\.encoding) == [.plain(.bf16)])
    #expect(
      Array(try scratch.bytes(of: "c.safetensors").suffix(40 * 64 * 2)) == Numbers.bf16(exact))
  }

  @Test(
    "a quantized gguf model goes through a pleat file without loss",
    arguments: [
      (4, "minmax"), (5, "minmax"), (4, "symmetric"), (5, "symmetric"), (8, "symmetric"),
    ])
  func ggufAndPleat(bits: Int, scheme: String) throws {
    let first = try quantize(try gguf(), to: "1.gguf", try .with(bits: bits, scheme: scheme))
    let packed = try convert(first, to: "2.pleat")
    let last = try convert(packed, to: "3.gguf")
    #expect(Laws.areEqual(packed.catalog, first.catalog))
    #expect(try Files.bytes(of: last.path) == Files.bytes(of: first.path))
    #expect(try Verification(of: packed, against: first, tolerance: 0).holds)
  }

  @Test(
    "every golden gguf model goes through a pleat file without loss",
    arguments: [
      "metadata", "types", "types-codebooks", "types-opaque", "alignment-1", "alignment-64",
    ])
  func goldenModels(name: String) throws {
    let path = Fixtures.path("golden/gguf/\(name).gguf")
    let model = try Model.open(path)
    let packed = try convert(model, to: "1.pleat")
    let isSame = Laws.areEqual(packed.catalog, model.catalog)
    #expect(isSame)
    let isSameFile =
      try Files.bytes(of: try convert(packed, to: "2.gguf").path) == Files.bytes(of: path)
    #expect(isSameFile)
  }

  @Test(
    "a checkpoint and its companions go through a pleat file without loss",
    arguments: [false, true])
  func checkpoints(compresses: Bool) throws {
    let model = try Models.tinylm()
    let plan = try Plan.converting(
      model,
      to: Destination(path: scratch.path("1.pleat"), format: .pleat, compresses: compresses))
    try Run(plan)()
    let packed = try Model.open(scratch.path("1.pleat"))
    try Run(
      try Plan.converting(
        packed, to: Destination(path: scratch.path("back"), format: .safetensors)))()
    for name in try Files.names(in: Fixtures.path("tinylm")) {
      let isSame =
        try Files.bytes(of: scratch.path("back/\(name)"))
        == Files.bytes(of: Fixtures.path("tinylm/\(name)"))
      #expect(isSame, "\(name)")
    }
    #expect(
      try scratch.names(in: "back") == Files.names(in: Fixtures.path("tinylm")))
  }

  @Test("gguf rounds wider parameters only with --round") func rounding() throws {
    let first = try quantize(try gguf(), to: "1.pleat", try .with(parameters: .f32))
    let error = Laws.error { () throws(ModelError) in try convert(first, to: "2.gguf") }
    #expect(error?.kind == .unsupported)
    #expect(error?.hint?.contains("--round") == true)
    let rounded = try convert(first, to: "2.gguf", rounding: true)
    let found = try Verification(of: rounded, against: first)
    let comparison = try #require(found.comparisons?.first)
    #expect(comparison.relativeError > 0 && comparison.relativeError < 1e-3)
  }

  @Test("gguf refuses parameters that do not fit F16, even with --round")
  func roundingOverflow() throws {
    let values = (0..<128).map { Float($0) * 1e6 }
    let source = try Models.make(
      [Toy("a.weight", .f32, [2, 64], values)], in: scratch,
      metadata: [("general.architecture", "llama")])
    let packed = try quantize(source, to: "1.pleat", try .with(parameters: .f32))
    let error = Laws.error { () throws(ModelError) in
      try convert(packed, to: "2.gguf", rounding: true)
    }
    #expect(error?.kind == .unsupported)
    #expect(try !scratch.names().contains("2.gguf"))
  }

  @Test(
    "gguf refuses groups that no GGML type can store",
    arguments: [(6, "minmax"), (8, "minmax"), (8, "zeropoint")])
  func refusal(bits: Int, scheme: String) throws {
    let packed = try quantize(try gguf(), to: "1.pleat", try .with(bits: bits, scheme: scheme))
    let error = Laws.error { () throws(ModelError) in
      try convert(packed, to: "2.gguf", rounding: true)
    }
    #expect(error?.kind == .unsupported)
    #expect(error?.tensor != nil)
  }

  @Test(
    "narrow codes and wide groups are converted to gguf without loss", arguments: [2, 3, 4],
    [32, 64, 128])
  func widening(bits: Int, group: Int) throws {
    let source = try Models.make(
      [Toy("a.weight", .f16, [6, 256], seed: 9)], in: scratch,
      metadata: [("general.architecture", "llama")])
    for scheme in ["minmax", "symmetric"] {
      let packed = try quantize(
        source, to: "\(scheme).pleat",
        try .with(bits: bits, group: .columns(group), scheme: scheme))
      let model = try convert(packed, to: "\(scheme).gguf")
      #expect(try Verification(of: model, against: packed, tolerance: 0).holds)
    }
  }

  @Test(
    "zero points become biases that are rounded once, with a note",
    arguments: ["gguf", "mlx"])
  func zeroPoints(format: String) throws {
    let source = try Models.tinylm()
    let packed = try quantize(
      format == "mlx" ? source : try gguf(), to: "1.pleat", try .with(scheme: "zeropoint"))
    let name = "2.\(format)"
    let plan = try Plan.converting(
      packed, to: Destination(path: scratch.path(name), format: try Formats.named(format)))
    #expect(
      plan.notes.contains { $0.hasSuffix("rounded once to F16 (relative error at most 2^-11)") })
    let model = try convert(packed, to: name)
    let found = try Verification(of: model, against: packed, tolerance: 1e-3)
    #expect(found.holds)
    #expect(model.catalog.tensors.contains { $0.encoding.description.hasSuffix("scale and bias") })
  }

  @Test("groups without an offset get an exact bias", arguments: [2, 3, 4, 5, 6, 8])
  func centralZeros(bits: Int) throws {
    let packed = try quantize(
      try Models.tinylm(), to: "1.pleat", try .with(bits: bits, scheme: "symmetric"))
    let model = try convert(packed, to: "2.mlx")
    #expect(try Verification(of: model, against: packed, tolerance: 0).holds)
  }

  @Test("blocks that Pleat cannot decode are not converted to safetensors")
  func opaqueBlocks() throws {
    let model = try Model.open(Fixtures.path("golden/gguf/types-opaque.gguf"))
    let error = Laws.error { () throws(ModelError) in try convert(model, to: "a.safetensors") }
    #expect(error?.kind == .unsupported)
    #expect(error?.tensor != nil)
    #expect(error?.hint == nil)
  }

  @Test("K-quants of gguf decode to the same numbers from a pleat file") func blocks() throws {
    let model = try Model.open(Fixtures.path("golden/gguf/types.gguf"))
    let packed = try convert(model, to: "1.pleat")
    let (left, right) = (
      try packed.floats(in: scratch), try model.floats(in: scratch)
    )
    #expect(Set(left.keys) == Set(right.keys))
    for (name, values) in right { #expect(left[name]?.bits == values.bits, "\(name)") }
  }
}
