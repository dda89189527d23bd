import Adapters
import Bytes
import Formats
import Pleat
import TestSupport
import Testing

/// Folds into MLX models.
@Suite struct MLXFoldTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  /// One number for each group of 32 of the weight `a`.
  private static let factors = ToyFactors("a", 6, 4, seed: 100)

  private func applied(
    _ factors: ToyFactors = factors, as name: String = "adapter", scale: Double = 1,
    pooling: Pooling? = .sum
  ) throws -> AppliedAdapter {
    try folder.applied([factors], as: name, scale: scale, pooling: pooling)
  }

  private static func weights(_ type: ScalarType, bits: Int = 4) -> [ToyMLX] {
    [
      ToyMLX("a", [6, 128], bits: bits, type: type, seed: 101),
      ToyMLX("b", [3, 64], bits: bits, type: type, seed: 102),
    ]
  }

  private func base(_ type: ScalarType, bits: Int = 4) throws -> Model {
    let tensors =
      Self.weights(type, bits: bits).flatMap(\.tensors) + [
        Toy("norm.weight", type, [7], seed: 103),
        Toy("ids", .i64, [2], bytes: [UInt8](0..<16)),
      ]
    return try Model.open(
      try folder.scratch.checkpoint(
        tensors, config: #"{"quantization":{"group_size":32,"bits":\#(bits)},"z":1,"a":2}"#,
        as: "base"))
  }

  /// Checks that the biases of `a` changed by the adapter and were rounded once, and nothing else.
  private func check(_ model: Model, _ base: Model, _ type: ScalarType) throws {
    let (before, after) = (
      try #require(try StoredGroups(base, "a.weight")),
      try #require(try StoredGroups(model, "a.weight"))
    )
    #expect(after.codes == before.codes && after.scales == before.scales)
    #expect(after.grouping.parameters == type)
    for index in after.offsets.indices {
      let element = Self.factors.element(index / 4, index % 4)
      let wanted = before.offsets[index] + 3 * element.value
      let slack = (before.offsets[index].magnitude + 20 * element.size) * 0x1p-24
      let difference = (after.offsets[index] - wanted).magnitude
      #expect(difference <= type.halfStep(at: wanted) + slack, "group \(index)")
    }
    let (others, own) = (
      try #require(try StoredGroups(base, "b.weight")),
      try #require(try StoredGroups(model, "b.weight"))
    )
    #expect(own.codes == others.codes)
    #expect(own.scales == others.scales && own.offsets == others.offsets)
    #expect(own.grouping.parameters == type)
  }

  private static func hasNote(on type: String, _ notes: [String]) -> Bool {
    notes.contains { $0.contains("plain tensors become \(type)") }
  }

  @Test(
    "a fold of an F16 model changes only the biases (seed 100)", arguments: [2, 3, 4, 5, 6, 8])
  func biases(bits: Int) throws {
    let base = try folder.rewrite(try base(.f16, bits: bits), to: "1.mlx")
    let result = try folder.fold([try applied()], into: base, to: "2.mlx")
    try check(result.model, base, .f16)
    #expect(!Self.hasNote(on: "F16", result.plan.notes))
    #expect(!result.plan.isLossy)
    #expect(result.report.total.changedCodeCount == 0)
    var (before, after) = (try base.allParts(), try result.model.allParts())
    #expect(before["a.weight"]?[.biases] != after["a.weight"]?[.biases])
    before["a.weight"]?[.biases] = nil
    after["a.weight"]?[.biases] = nil
    #expect(before == after)
    #expect(try folder.files("1.mlx")["config.json"] == folder.files("2.mlx")["config.json"])
    #expect(
      try Verification(of: result.model, against: base, adapters: [try applied(as: "again")]).holds)
  }

  @Test("a fold of a BF16 model makes it F16, with a note (seed 100)") func bf16() throws {
    let base = try base(.bf16)
    let result = try folder.fold([try applied()], into: base, to: "2.mlx")
    try check(result.model, base, .f16)
    #expect(result.model.numberTypes == ["F16", "I64"])
    #expect(Self.hasNote(on: "F16", result.plan.notes))
    #expect(!result.plan.notes.contains { $0.contains("8 times coarser") })
    #expect(try result.model.parts("ids") == base.parts("ids"))
    let norm = Numbers.floats(try base.part(.values, of: "norm.weight"), .bf16)
    #expect(try result.model.parts("norm.weight")[.values] == Numbers.f16(norm))
    #expect(
      try Verification(of: result.model, against: base, adapters: [try applied(as: "again")]).holds)
  }

  @Test("--bias-type BF16 changes only the biases of a BF16 model (seed 100)")
  func kept() throws {
    let base = try base(.bf16)
    let result = try folder.fold([try applied()], into: base, to: "2.mlx", .with(biasType: .bf16))
    try check(result.model, base, .bf16)
    #expect(result.model.numberTypes == ["BF16", "I64"])
    #expect(!Self.hasNote(on: "F16", result.plan.notes))
    #expect(result.plan.notes.contains { $0.contains("8 times coarser") })
    for name in ["b.weight", "norm.weight", "ids"] {
      #expect(try result.model.parts(name) == base.parts(name))
    }
  }

  @Test(
    "--bias-type F32 makes all numbers F32 without rounding (seed 100)",
    arguments: [ScalarType.f16, .bf16])
  func wider(type: ScalarType) throws {
    let base = try base(type)
    let result = try folder.fold([try applied()], into: base, to: "2.mlx", .with(biasType: .f32))
    try check(result.model, base, .f32)
    #expect(result.model.numberTypes == ["F32", "I64"])
    #expect(
      try Verification(of: result.model, against: base, adapters: [try applied(as: "again")]).holds)
  }

  @Test("a fold of a BF16 model has a smaller error in F16 than in BF16 (seed 100)")
  func precision() throws {
    let base = try base(.bf16)
    var errors: [Double] = []
    for (name, type) in [("1.mlx", ScalarType.f16), ("2.mlx", .bf16)] {
      let result = try folder.fold(
        [try applied(as: name + "-adapter")], into: base, to: name, .with(biasType: type))
      errors.append(result.report.total.adapterError)
    }
    #expect(errors[0] * 4 < errors[1])
  }

  @Test("a BF16 model with groups of zeros, which have scale 1e-7, can be folded")
  func zeroGroups() throws {
    var weights = Self.weights(.bf16)
    for index in weights.indices {
      weights[index].scales[1] = Numbers.rounded([1e-7], to: .bf16)[0]
      weights[index].biases[1] = 0
      for column in 32..<64 { weights[index].codes[column] = 0 }
    }
    let base = try folder.mlx(weights)
    let result = try folder.fold([try applied()], into: base, to: "2.mlx")
    let (before, after) = (
      try #require(try StoredGroups(base, "b.weight")),
      try #require(try StoredGroups(result.model, "b.weight"))
    )
    #expect(after.codes == before.codes)
    for index in before.codes.indices {
      // Half of the smallest F16 number for each step of a code.
      let limit = 15 * 0x1p-25
      #expect((after.weight(index) - before.weight(index)).magnitude <= limit)
    }
    #expect(
      try Verification(of: result.model, against: base, adapters: [try applied(as: "again")]).holds)
  }

  @Test("a fold is verified although F16 rounds small numbers") func smallNumbers() throws {
    var weights = Self.weights(.bf16)
    weights[1].biases[0] = Numbers.rounded([3e-7], to: .bf16)[0]
    let values: [Float] = [1e-9, -3e-8, 1.1e-7, 1, -2]
    let base = try folder.mlx(weights, [Toy("norm.weight", .bf16, [5], values)])
    let result = try folder.fold([try applied()], into: base, to: "2.mlx")
    let rounded = Numbers.f16(Numbers.rounded(values, to: .bf16))
    #expect(try result.model.parts("norm.weight")[.values] == rounded)
    #expect(
      try Verification(of: result.model, against: base, adapters: [try applied(as: "again")]).holds)
  }

  @Test("a number that does not fit F16 is refused, and --bias-type BF16 keeps it")
  func largeNumbers() throws {
    let base = try folder.mlx(
      Self.weights(.bf16), [Toy("norm.weight", .bf16, [2], [1, 1e6])])
    let refusal = try folder.error([try applied()], into: base, to: "2.mlx")
    #expect(refusal.error?.kind == .unsupported)
    #expect(refusal.error?.tensor == "norm.weight")
    let kept = try folder.fold(
      [try applied(as: "again")], into: base, to: "2.mlx", .with(biasType: .bf16))
    #expect(try kept.model.parts("norm.weight") == base.parts("norm.weight"))
  }

  @Test("an adapter without effect changes no number (seed 100)")
  func identity() throws {
    for type in [ScalarType.f16, .bf16] {
      let base = try base(type)
      let result = try folder.fold(
        [try applied(Self.factors.withoutEffect)], into: base, to: "\(type.name).mlx")
      for name in ["a.weight", "b.weight"] {
        let (before, after) = (
          try #require(try StoredGroups(base, name)),
          try #require(try StoredGroups(result.model, name))
        )
        #expect(after.codes == before.codes)
        #expect(after.scales == before.scales && after.offsets == before.offsets)
      }
      if type == .f16 { #expect(try result.model.allParts() == base.allParts()) }
      try folder.scratch.remove("base")
    }
  }

  @Test("--requantize with plain LoRA keeps the type of the model")
  func requantizing() throws {
    let base = try base(.bf16)
    let lora = try applied(ToyFactors("a", 6, 128, seed: 104), pooling: nil)
    let refusal = try folder.error([lora], into: base, to: "2.mlx")
    #expect(refusal.error?.kind == .unsupported)
    #expect(refusal.error?.expected?.contains("--requantize") == true)
    let result = try folder.fold([lora], into: base, to: "2.mlx", .with(requantizes: true))
    #expect(result.model.numberTypes == ["BF16", "I64"])
    #expect(!Self.hasNote(on: "F16", result.plan.notes))
    #expect(try result.model.parts("b.weight") == base.parts("b.weight"))
  }

  @Test("a fold of a BF16 model to a pleat file stays BF16")
  func toPleat() throws {
    let base = try base(.bf16)
    let result = try folder.fold([try applied()], into: base, to: "2.pleat")
    try check(result.model, base, .bf16)
    #expect(result.model.numberTypes == ["BF16", "I64"])
    let back = try folder.rewrite(result.model, to: "3.mlx")
    #expect(try back.allParts() == result.model.allParts())
  }

  @Test(
    "groups without a bias get one when folded to mlx (seed 100)",
    arguments: ["symmetric", "zeropoint"])
  func newBiases(scheme: String) throws {
    let source = try folder.checkpoint([Toy("a.weight", .f32, [6, 128], seed: 105)])
    let base = try folder.quantize(
      source, try .with(group: .columns(32), scheme: scheme), to: "base.pleat")
    let options = FoldOptions.with(biasType: scheme == "zeropoint" ? .f16 : nil)
    let result = try folder.fold([try applied()], into: base, to: "2.mlx", options)
    let (before, after) = (
      try #require(try StoredGroups(base, "a.weight")),
      try #require(try StoredGroups(result.model, "a.weight"))
    )
    #expect(after.codes == before.codes && after.scales == before.scales)
    for index in after.offsets.indices {
      let element = Self.factors.element(index / 4, index % 4)
      let wanted = before.offsets[index] + 3 * element.value
      let slack = (before.offsets[index].magnitude + 20 * element.size) * 0x1p-23
      let difference = (after.offsets[index] - wanted).magnitude
      #expect(difference <= ScalarType.f16.halfStep(at: wanted) + slack)
    }
  }

  @Test("quantizing with an adapter equals quantizing, then folding (seed 100)")
  func quantizing() throws {
    let source = try folder.checkpoint([
      Toy("a.weight", .bf16, [6, 128], seed: 106), Toy("norm.weight", .bf16, [7], seed: 107),
    ])
    let recipe = try Recipe.with(group: .columns(32))
    let base = try folder.quantize(source, recipe, to: "1.mlx")
    let folded = try folder.fold([try applied()], into: base, to: "2.mlx")
    let both = try folder.quantize(source, recipe, to: "3.mlx", adding: [try applied(as: "again")])
    #expect(try both.allParts() == folded.model.allParts())
    #expect(both.numberTypes == ["F16"])
  }

  @Test("the metadata records the fold, so that a second one has a note") func history() throws {
    let base = try base(.f16)
    let first = try folder.fold([try applied()], into: base, to: "1.mlx")
    #expect(first.model.catalog.metadata["format"]?.text == "mlx")
    let second = try folder.fold([try applied(as: "again")], into: first.model, to: "2.mlx")
    #expect(second.plan.notes.contains { $0.contains("is already folded into the base model") })
  }
}
