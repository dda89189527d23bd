import Formats
import Pleat
import TestSupport
import Testing

/// Every job fails if it finds a number that is not finite, so that damage is never passed on.
@Suite struct FiniteTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private var scratch: Scratch { folder.scratch }

  static let impossible: [Float] = [.nan, .infinity, -.infinity]

  /// The error of a conversion; it must leave no files.
  private func refusal(
    _ model: Model, _ format: Format, to name: String = "out", decodingTo type: ScalarType? = nil,
    shardByteCount: Int? = nil
  ) throws -> ModelError? {
    let names = try scratch.names()
    let plan = try Plan.converting(
      model, decodingTo: type,
      to: Destination(
        path: scratch.path(name), format: format, shardByteCount: shardByteCount))
    let error = Laws.error { () throws(ModelError) in try Run(plan)() }
    #expect(try scratch.names() == names)
    return error
  }

  private func expectDamage(_ error: ModelError?, _ tensor: String, _ position: String) {
    #expect(error?.kind == .malformed)
    #expect(error?.tensor == tensor)
    #expect(error?.found?.hasSuffix(" in \(position)") == true, "\(error?.found ?? "nothing")")
    #expect(error?.hint?.contains("inspect --stats") == true)
  }

  // MARK: - Plain tensors

  /// A finite tensor, and a tensor that has `value` at one index.
  private func model(
    _ value: Float, _ type: ScalarType, shape: [Int] = [70, 9], at index: Int = 629
  ) throws -> Model {
    var values = [Float](repeating: 0.5, count: shape.reduce(1, *))
    values[index] = value
    let bytes =
      type == .f64
      ? values.flatMap { Numbers.little(Double($0).bitPattern) } : Numbers.bytes(values, type)
    return try Models.make(
      [
        Toy("whole.weight", type == .f64 ? .f16 : type, [64, 64], seed: 3),
        Toy("broken", type, shape, bytes: bytes),
      ], in: scratch)
  }

  @Test("copied numbers are checked", arguments: [ScalarType.f16, .bf16, .f32, .f64])
  func copies(type: ScalarType) throws {
    for value in Self.impossible {
      let model = try model(value, type)
      let position = "row 69, column 8"
      expectDamage(try refusal(model, .safetensors), "broken", position)
      expectDamage(try refusal(model, .safetensors, shardByteCount: 4096), "broken", position)
      expectDamage(try refusal(model, .pleat), "broken", position)
    }
  }

  @Test("NaN is found anywhere in a tensor of several blocks")
  func positions() throws {
    for index in [0, 524_287, 524_288, 599_999] {
      let model = try model(.nan, .f16, shape: [600, 1000], at: index)
      let position = "row \(index / 1000), column \(index % 1000)"
      expectDamage(try refusal(model, .safetensors), "broken", position)
    }
  }

  @Test("numbers that change their type are checked", arguments: [ScalarType.f16, .bf16, .f32])
  func types(type: ScalarType) throws {
    for value in Self.impossible {
      let model = try model(value, type == .f32 ? .f16 : .f32)
      expectDamage(
        try refusal(model, .safetensors, decodingTo: type), "broken", "row 69, column 8")
    }
  }

  @Test("tensors that quantizing copies are checked, unless a rule keeps them")
  func kept() throws {
    for value in Self.impossible {
      let model = try model(value, .f16)
      for (rules, isRefused) in [([], true), (["whole*=keep"], true), (["broken=keep"], false)] {
        let plan = try Plan.quantizing(
          model, try .with(rules: rules),
          to: Destination(path: scratch.path("out.pleat"), format: .pleat))
        let error = Laws.error { () throws(ModelError) in try Run(plan)() }
        if isRefused {
          expectDamage(error, "broken", "row 69, column 8")
        } else {
          #expect(error == nil)
          // A later conversion of the output finds the number.
          let kept = try Model.open(scratch.path("out.pleat"))
          expectDamage(try refusal(kept, .safetensors), "broken", "row 69, column 8")
          try scratch.remove("out.pleat")
        }
      }
    }
  }

  @Test("F64 numbers that do not fit float32 are copied") func large() throws {
    let values = [1e300, -1e300, 0.5].flatMap { Numbers.little($0.bitPattern) }
    let source = ToyFiles.safetensors([Toy("a", .f64, [3], bytes: values)])
    let model = try Model.open(try scratch.write(source, as: "model.safetensors"))
    try Run(
      try Plan.converting(
        model, to: Destination(path: scratch.path("out.safetensors"), format: .safetensors)))()
    #expect(try scratch.bytes(of: "out.safetensors").suffix(24) == values[...])
  }

  // MARK: - Scales and biases

  @Test("scales and biases of MLX are checked", arguments: ["scales", "biases"])
  func mlx(part: String) throws {
    for value in Self.impossible {
      var weight = ToyMLX("a", [5, 64], seed: 66)
      if part == "scales" { weight.scales[7] = value } else { weight.biases[7] = value }
      let model = try folder.mlx([weight])
      for format in [Format.mlx, .pleat] {
        expectDamage(try refusal(model, format), "a.weight", "row 3, group 1")
      }
      let decoded = try refusal(model, .safetensors)
      #expect(decoded?.kind == .malformed && decoded?.tensor == "a.weight")
      try scratch.remove("base")
    }
  }

  @Test("scales of GPTQ, which are stored transposed, are checked") func gptq() throws {
    for value in Self.impossible {
      var weight = ToyGPTQ("a", 8, 64, seed: 706)
      weight.scales[2 * 5 + 1] = value
      let model = try Model.open(
        try scratch.checkpoint(weight.tensors, config: ToyGPTQ.config(), as: "base"))
      for format in [Format.gptq, .gptqV1, .pleat, .mlx] {
        expectDamage(try refusal(model, format), "a.weight", "row 5, group 1")
      }
      try scratch.remove("base")
    }
  }

  /// Two rows of three GGML blocks; `value` is the F16 number at byte `offset` of block 4.
  private func blocks(
    _ value: Float, _ type: UInt32, byteCount: Int, elementCount: Int, at offset: Int
  ) throws -> Model {
    var bytes: [UInt8] = []
    for block in 0..<6 {
      var content = [UInt8](repeating: 0x37, count: byteCount)
      for start in [0, 2, byteCount - 2] where start != offset || block != 4 {
        content.replaceSubrange(start..<start + 2, with: Numbers.f16([0.01]))
      }
      if block == 4 { content.replaceSubrange(offset..<offset + 2, with: Numbers.f16([value])) }
      bytes += content
    }
    let toy = Toy("a.weight", .u8, [2, 3 * elementCount], bytes: bytes)
    return try Model.open(
      try scratch.write(ToyFiles.gguf([(toy, typeNumber: type)]), as: "base.gguf"))
  }

  @Test(
    "scales and biases in GGML blocks are checked",
    arguments: [(UInt32(2), 18, 0), (3, 20, 0), (3, 20, 2), (7, 24, 0), (8, 34, 0)])
  func blocks(type: UInt32, byteCount: Int, offset: Int) throws {
    for value in Self.impossible {
      let model = try blocks(value, type, byteCount: byteCount, elementCount: 32, at: offset)
      for format in [Format.gguf, .pleat] {
        expectDamage(try refusal(model, format), "a.weight", "row 1, group 1")
      }
    }
  }

  @Test(
    "GGML blocks that Pleat only decodes are checked",
    arguments: [(UInt32(12), 144, 0), (14, 210, 208)])
  func foreignBlocks(type: UInt32, byteCount: Int, offset: Int) throws {
    for value in Self.impossible {
      let model = try blocks(value, type, byteCount: byteCount, elementCount: 256, at: offset)
      for format in [Format.gguf, .pleat] {
        let error = try refusal(model, format)
        #expect(error?.kind == .malformed && error?.tensor == "a.weight")
        #expect(error?.found?.contains(" in row 1, column ") == true)
      }
    }
  }

  @Test("scales of the base model are checked if an adapter changes the offsets")
  func folds() throws {
    let factors = ToyFactors("a", 5, 2, seed: 588)
    for value in Self.impossible {
      var weight = ToyMLX("a", [5, 64], seed: 66)
      weight.scales[7] = value
      let base = try folder.mlx([weight])
      let found = try folder.error(
        [try folder.applied([factors], pooling: .sum)], into: base, to: "out.mlx")
      #expect(found.error?.kind == .malformed)
      #expect(found.error?.tensor == "a.weight")
      #expect(found.error?.found?.hasSuffix("row 3, group 1") == true)
      #expect(found.isClean)
      try scratch.remove("base")
    }
  }
}
