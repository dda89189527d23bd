import Bytes
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Conversions from and to GPTQ.
@Suite struct GPTQConversionTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  static let kinds = Every.triple(of: [2, 3, 4, 8], [false, true], [false, true])

  /// A GPTQ folder with two layers, a bias and a norm.
  private func base(
    _ bits: Int, isFirst: Bool = false, isSymmetric: Bool = false, isScattered: Bool = false,
    hasIndex: Bool = true, type: ScalarType = .f16
  ) throws -> Model {
    var weights = [
      ToyGPTQ(
        "l.0.up", 96, 128, bits: bits, isFirstVersion: isFirst, isSymmetric: isSymmetric,
        type: type, seed: 700),
      ToyGPTQ(
        "l.0.down", 128, 96, bits: bits, isFirstVersion: isFirst, isSymmetric: isSymmetric,
        type: type, seed: 701),
    ]
    for index in weights.indices {
      weights[index].hasIndex = hasIndex
      if isScattered { weights[index].scatter(seed: 702) }
    }
    let more = [
      Toy("l.0.up.bias", .f16, [96], seed: 703), Toy("norm.weight", .f16, [8], seed: 704),
    ]
    let config = ToyGPTQ.config(
      bits: bits, version: isFirst ? "gptq" : "gptq_v2", sym: isSymmetric)
    return try Model.open(
      try folder.scratch.checkpoint(weights.flatMap(\.tensors) + more, config: config, as: "base"))
  }

  private func refusal(_ model: Model, _ format: Format, rounding: Bool = false) -> ModelError? {
    Laws.error { () throws(ModelError) in
      let destination = Destination(path: folder.scratch.path("out"), format: format)
      try Run(try Plan.converting(model, to: destination, rounding: rounding))()
    }
  }

  private func expectSame(_ left: Model, _ right: Model, _ note: String = "") throws {
    let (left, right) = (try left.floats(in: folder.scratch), try right.floats(in: folder.scratch))
    #expect(Set(left.keys) == Set(right.keys))
    for (name, values) in left {
      #expect(right[name]?.bits == values.bits, "\(name) \(note)")
    }
  }

  @Test("converting to the same GPTQ version copies every byte of a layer", arguments: kinds)
  func copies(bits: Int, isFirst: Bool, isScattered: Bool) throws {
    let model = try base(bits, isFirst: isFirst, isScattered: isScattered)
    let again = try folder.rewrite(model, to: "again", model.format)
    #expect(again.format == model.format)
    #expect(try again.allParts() == model.allParts())
  }

  @Test("converting to the other GPTQ version and back changes only zero points", arguments: kinds)
  func versions(bits: Int, isFirst: Bool, isScattered: Bool) throws {
    let model = try base(bits, isFirst: isFirst, isScattered: isScattered)
    let other = try folder.rewrite(model, to: "other", isFirst ? .gptq : .gptqV1)
    #expect(other.format == (isFirst ? .gptq : .gptqV1))
    try expectSame(model, other)
    #expect(try other.parts("l.0.up.weight")[.zeros] != model.parts("l.0.up.weight")[.zeros])
    let back = try folder.rewrite(other, to: "back", model.format)
    #expect(try back.allParts() == model.allParts())
  }

  @Test("a layer without a group index gets one", arguments: [2, 3, 4, 8])
  func gainedIndex(bits: Int) throws {
    let model = try base(bits, hasIndex: false)
    let again = try folder.rewrite(model, to: "again", .gptq)
    try expectSame(model, again)
    let index = try #require(try again.parts("l.0.up.weight")[.groupIndex])
    #expect(index == (0..<128).flatMap { Numbers.little(Int32($0 / 32)) })
  }

  @Test("converting to pleat and back changes no byte of a layer", arguments: kinds)
  func pleat(bits: Int, isFirst: Bool, isSymmetric: Bool) throws {
    let model = try base(bits, isFirst: isFirst, isSymmetric: isSymmetric)
    let packed = try folder.rewrite(model, to: "a.pleat", .pleat)
    try expectSame(model, packed)
    let info = try #require(packed.catalog.tensors.first { $0.name == "l.0.up.weight" })
    let offset: Grouping.Offset = isSymmetric ? .none : .zeroPoint
    #expect(
      info.encoding
        == .grouped(Grouping(bits: bits, groupSize: 32, offset: offset, parameters: .f16)))
    #expect(!packed.catalog.companions.contains { $0.name == "quantize_config.json" })
    let back = try folder.rewrite(packed, to: "back", model.format)
    #expect(try back.allParts() == model.allParts())
    let quantization = try folder.document("back")["quantization_config"]
    #expect(quantization?["sym"] == .bool(isSymmetric))
  }

  @Test(
    "gguf stores symmetric 4- and 8-bit groups exactly, and refuses zero points", arguments: [4, 8])
  func gguf(bits: Int) throws {
    let model = try base(bits, isSymmetric: true)
    let info = try #require(model.catalog.tensors.first { $0.name == "l.0.up.weight" })
    #expect(Format.gguf.admission(of: info) == .exact)
    let zeroPoints = try base(bits).catalog.tensors[0]
    guard case .refused = Format.gguf.admission(of: zeroPoints) else {
      Issue.record("gguf admits \(zeroPoints.encoding)")
      return
    }
  }

  @Test("decoding gives plain tensors and a config without quantization")
  func safetensors() throws {
    let model = try base(4, isScattered: true)
    let plain = try folder.rewrite(model, to: "plain", .safetensors, decodingTo: .f32)
    try expectSame(model, plain)
    #expect(try folder.keys("plain") == ["model_type"])
    #expect(plain.catalog.tensors.allSatisfy { $0.encoding == .plain(.f32) })
  }

  @Test("zero points become MLX biases, rounded once")
  func mlx() throws {
    let model = try base(4)
    let destination = Destination(path: folder.scratch.path("m"), format: .mlx)
    try Run(try Plan.converting(model, to: destination))()
    let found = try Model.open(destination.path)
    #expect(found.format == .mlx)
    let result = try Verification(of: found, against: model, tolerance: 0x1p-11)
    #expect(result.holds)
  }

  /// The formats that can neither store scattered groups nor decode them unasked.
  static let unscattered = Formats.all.filter {
    ![Format.safetensors, .gptq, .gptqV1].contains($0)
  }

  @Test("scattered groups are kept by both GPTQ versions and decoded by safetensors")
  func scatteredGroups() throws {
    #expect(Self.unscattered.count == Formats.all.count - 3)
    let model = try base(4, isScattered: true)
    for format in [Format.gptq, .gptqV1] {
      let kept = try folder.rewrite(model, to: format.name, format)
      #expect(kept.format == format)
      #expect(Set(kept.catalog.tensors) == Set(model.catalog.tensors))
      try expectSame(model, kept, format.name)
    }
    let decoded = try folder.rewrite(model, to: "decoded", .safetensors)
    #expect(decoded.format == .safetensors)
    #expect(decoded.catalog.tensors.allSatisfy { $0.encoding == .plain(.f16) })
    let (before, after) = (
      try model.floats(in: folder.scratch), try decoded.floats(in: folder.scratch)
    )
    #expect(Set(before.keys) == Set(after.keys))
    for (name, values) in before {
      #expect(after[name]?.bits == Numbers.rounded(values, to: .f16).bits, "\(name)")
    }
  }

  @Test(
    "scattered groups are refused by all other formats with a hint to decode",
    arguments: unscattered)
  func scattered(format: Format) throws {
    let model = try base(4, isScattered: true)
    for rounding in [false, true] {
      let error = try #require(refusal(model, format, rounding: rounding))
      #expect(error.kind == .unsupported)
      #expect(error.tensor == "l.0.up.weight")
      #expect(error.description.contains("scattered"), "\(error)")
      #expect(error.hint?.contains("--dtype F16") == true)
    }
  }

  @Test(
    "gptq refuses biases, which are not integer zero points", arguments: [Format.gptq, .gptqV1])
  func biases(format: Format) throws {
    let model = try folder.mlx([ToyMLX("a", [32, 64], seed: 705)], as: "mlx")
    for rounding in [false, true] {
      let error = try #require(refusal(model, format, rounding: rounding))
      #expect(error.kind == .unsupported)
      #expect(error.what.contains("whole zero points"))
    }
  }

  @Test("only the second GPTQ version can store a zero point of 0")
  func zeros() throws {
    var weight = ToyGPTQ("a", 8, 64, seed: 706)
    weight.zeros[2 * 5 + 1] = 0
    let model = try Model.open(
      try folder.scratch.checkpoint(weight.tensors, config: ToyGPTQ.config(), as: "zero"))
    let error = try #require(refusal(model, .gptqV1))
    #expect(error.kind == .unsupported && error.tensor == "a.weight")
    #expect(error.found == "0 in row 5, group 1")
    #expect(error.hint == "--to gptq can store it")
    try expectSame(model, try folder.rewrite(model, to: "same", .gptq))
  }

  @Test("a zero point of 0 that gptqmodel stored in the first version is copied and converted")
  func storedZeros() throws {
    for bits in [2, 3, 4, 8] {
      var weight = ToyGPTQ("a", 32, 64, bits: bits, isFirstVersion: true, seed: 707)
      for index in [0, 2, 17] { weight.zeros[index] = 0 }
      let config = ToyGPTQ.config(bits: bits, version: "gptq")
      let path = try folder.scratch.checkpoint(weight.tensors, config: config, as: "zero \(bits)")
      let model = try Model.open(path)
      for format in [Format.gptqV1, .gptq, .pleat] {
        try expectSame(model, try folder.rewrite(model, to: "\(bits)-\(format.name)", format))
      }
    }
  }

  @Test("scales of other types become F16 with --round")
  func scales() throws {
    let model = try base(4, type: .f32)
    #expect(refusal(model, .gptq)?.hint?.contains("--round") == true)
    let destination = Destination(path: folder.scratch.path("r"), format: .gptq)
    try Run(try Plan.converting(model, to: destination, rounding: true))()
    let found = try Model.open(destination.path)
    #expect(try Verification(of: found, against: model, tolerance: 0x1p-11).holds)
  }

  @Test("conversions do not depend on the length of rows (seed 709)")
  func blocks() throws {
    for (outputs, inputs) in [(4096, 512), (32, 65536)] {
      for bits in [3, 4] {
        let shape = "\(outputs) × \(inputs), \(bits) bits"
        let source = try folder.checkpoint(
          [Toy("a.weight", .f16, [outputs, inputs], Self.long)], as: "long \(shape)")
        let recipe = try Recipe.with(bits: bits, scheme: "zeropoint")
        let packed = try folder.quantize(source, recipe, to: "\(shape).pleat")
        let written = try folder.rewrite(packed, to: "\(shape).gptq", .gptq)
        #expect(try Verification(of: written, against: packed, tolerance: 0).holds, "\(shape)")
        let back = try folder.rewrite(written, to: "\(shape).2.pleat", .pleat)
        #expect(try back.allParts() == packed.allParts(), "\(shape)")
      }
    }
  }

  private static let long: [Float] = {
    var random = Seeded(709)
    return (0..<2_097_152).map { _ in Float(random.below(4001) - 2000) / 1024 }
  }()
}
