import Pleat
import TestSupport
import Testing

/// Folds into 16- and 32-bit weights.
@Suite struct FoldPlainTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  static let types: [ScalarType] = [.f16, .bf16, .f32]

  private static let values: [Float] = {
    var random = Seeded(500)
    // Zeros of both signs, the smallest and largest F16 numbers, then ordinary ones.
    return [0, -0.0, 1, -1, 0x1p-24, -0x1p-24, 65504, 0x1p-14] + random.weights(6 * 40 - 8)
  }()

  private static func bytes(_ type: ScalarType) -> [UInt8] { Numbers.bytes(values, type) }

  private func base(_ type: ScalarType, in name: String = "base.safetensors") throws -> Model {
    try Models.make(
      [
        Toy("model.a.weight", type, [6, 40], bytes: Self.bytes(type)),
        Toy("model.b.weight", .f16, [4, 40], seed: 501),
        Toy(
          "model.norm.weight", type, [6],
          bytes: Array(Self.bytes(type).prefix(6 * type.bitWidth / 8))),
      ], in: folder.scratch, as: name)
  }

  private func numbers(_ bytes: [UInt8], _ type: ScalarType) -> [Double] {
    Numbers.floats(bytes, type).map(Double.init)
  }

  @Test("an adapter whose lora_B is zero changes no byte (seed 500)", arguments: types)
  func identity(type: ScalarType) throws {
    let base = try base(type)
    let factors = ToyFactors("model.a", 6, 40, seed: 502).withoutEffect
    let bias = Toy("model.norm.weight", .f32, [6], Self.values.prefix(6) + [])
    let result = try folder.fold(
      [try folder.applied([factors], [bias])], into: base, to: "out.safetensors")
    for (name, parts) in try base.allParts() {
      let isSame = try result.model.parts(name) == parts
      #expect(isSame, "\(name)")
    }
    #expect(result.report.total.adapterError == 0)
  }

  @Test(
    "a fold is the exact sum, rounded once to the stored type (seed 503)", arguments: types,
    [1, -1, 0.25])
  func sum(type: ScalarType, scale: Double) throws {
    let base = try base(type)
    let factors = ToyFactors("model.a", 6, 40, seed: 503)
    let result = try folder.fold(
      [try folder.applied([factors], scale: scale)], into: base, to: "out.safetensors")
    let before = numbers(Self.bytes(type), type)
    let after = numbers(try result.model.part(.values, of: "model.a.weight"), type)
    try #require(after.count == 240)
    for index in 0..<240 {
      let element = factors.element(index / 40, index % 40)
      let wanted = before[index] + 3 * scale * element.value
      // The product and the sum are computed in float32.
      let float = wanted.magnitude * 0x1p-24
      let limit = type.halfStep(at: wanted) + 3 * element.size * 6 * 0x1p-24 + float
      #expect((after[index] - wanted).magnitude <= limit, "\(index)")
    }
    for name in ["model.b.weight", "model.norm.weight"] {
      #expect(try result.model.parts(name) == base.parts(name))
    }
    #expect(result.report.tensors.map(\.name) == ["model.a.weight"])
    #expect(result.plan.job("model.a.weight")?.action == .merge)
    #expect(!result.plan.isLossy)
  }

  @Test(
    "folding and unfolding gives the base model up to two roundings (seed 504)", arguments: types)
  func back(type: ScalarType) throws {
    let base = try base(type)
    let factors = ToyFactors("model.a", 6, 40, seed: 504)
    let there = try folder.fold([try folder.applied([factors])], into: base, to: "1.safetensors")
    let back = try folder.fold(
      [try folder.applied([factors], scale: -1)], into: there.model, to: "2.safetensors")
    let before = numbers(Self.bytes(type), type)
    let between = numbers(try there.model.part(.values, of: "model.a.weight"), type)
    let after = numbers(try back.model.part(.values, of: "model.a.weight"), type)
    for index in before.indices {
      let float = 0x1p-23
      let limit =
        type.halfStep(at: before[index]) + type.halfStep(at: between[index])
        + float * (before[index].magnitude + between[index].magnitude)
      #expect((after[index] - before[index]).magnitude <= limit, "\(index)")
    }
  }

  @Test("two adapters are folded in one pass and rounded once (seed 505)", arguments: types)
  func two(type: ScalarType) throws {
    let base = try base(type)
    let factors = [505, 506].map { ToyFactors("model.a", 6, 40, seed: $0) }
    let adapters = [
      try folder.applied([factors[0]], as: "1"),
      try folder.applied([factors[1]], as: "2", scale: 2),
    ]
    let result = try folder.fold(adapters, into: base, to: "out.safetensors")
    let before = numbers(Self.bytes(type), type)
    let after = numbers(try result.model.part(.values, of: "model.a.weight"), type)
    for index in before.indices {
      let elements = factors.map { $0.element(index / 40, index % 40) }
      let wanted = before[index] + 3 * elements[0].value + 6 * elements[1].value
      let float = 3 * max(wanted.magnitude, before[index].magnitude) * 0x1p-24
      let limit =
        type.halfStep(at: wanted) + (3 * elements[0].size + 6 * elements[1].size) * 0x1p-21 + float
      #expect((after[index] - wanted).magnitude <= limit, "\(index)")
    }
  }

  @Test(
    "whole tensors of an adapter replace those of the base model",
    arguments: [ScalarType.f16, .bf16, .f32])
  func replacement(type: ScalarType) throws {
    let base = try base(type)
    var random = Seeded(507)
    let (norm, other) = (random.weights(6), random.weights(160))
    let applied = try folder.applied(
      [ToyFactors("model.a", 6, 40, seed: 508)],
      [
        Toy("base_model.model.model.norm.weight", .f32, [6], norm),
        Toy("base_model.model.model.b.modules_to_save.weight", .f32, [4, 40], other),
      ])
    let result = try folder.fold([applied], into: base, to: "out.safetensors")
    #expect(try result.model.parts("model.norm.weight")[.values] == Numbers.bytes(norm, type))
    #expect(try result.model.parts("model.b.weight")[.values] == Numbers.f16(other))
    #expect(result.plan.job("model.b.weight")?.action == .replace)
  }

  @Test("DoRA scales each row of the merged weight to its magnitude (seed 509)")
  func dora() throws {
    let base = try base(.f32)
    let factors = ToyFactors("model.a", 6, 40, seed: 509)
    let lengths: [Float] = [1, 2, 0.5, 3, 0.25, 1]
    let applied = try folder.applied(
      [factors], [Toy("model.a.lora_magnitude_vector", .f32, [6], lengths)], "\"use_dora\":true")
    let result = try folder.fold([applied], into: base, to: "out.safetensors")
    let after = try #require(try result.model.parts("model.a.weight")[.values])
    let found = Numbers.floats(f32: after)
    for row in 0..<6 {
      let sums = (0..<40).map { column in
        Double(Self.values[row * 40 + column]) + 3 * factors.element(row, column).value
      }
      let length = sums.reduce(0) { $0 + $1 * $1 }.squareRoot()
      for column in 0..<40 {
        let wanted = sums[column] * Double(lengths[row]) / length
        let error = (Double(found[row * 40 + column]) - wanted).magnitude
        #expect(error <= 1e-6 * Double(lengths[row]))
      }
    }
  }

  @Test("folding into F64 weights is refused") func doubles() throws {
    let base = try Models.make(
      [Toy("model.a.weight", .f64, [6, 40], bytes: [UInt8](repeating: 0, count: 1920))],
      in: folder.scratch, as: "base.safetensors")
    let applied = try folder.applied([ToyFactors("model.a", 6, 40, seed: 511)])
    let found = try folder.error([applied], into: base, to: "out.safetensors")
    #expect(found.error?.kind == .unsupported)
    #expect(found.error?.found?.contains("F64") == true)
    #expect(found.isClean)
  }

  @Test(
    "plain weights of gguf and pleat files fold like those of a checkpoint (seed 510)",
    arguments: ["gguf", "pleat"])
  func formats(format: String) throws {
    let base = try Models.make(
      [Toy("model.a.weight", .f16, [6, 40], Self.values)], in: folder.scratch,
      metadata: [("general.architecture", "llama")], as: "base.safetensors")
    let applied = try folder.applied([ToyFactors("model.a", 6, 40, seed: 510)])
    let expected = try folder.fold([applied], into: base, to: "1.safetensors")
    let found = try folder.fold([applied], into: base, to: "1.\(format)")
    #expect(
      try found.model.parts("model.a.weight") == expected.model.parts("model.a.weight"))
    #expect(found.report == expected.report)
  }
}
