import Adapters
import Formats
import Pleat
import TestSupport
import Testing

/// The verification of folds.
@Suite struct VerifyFoldTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  /// How a base model is stored and how an adapter is folded into it.
  struct Way: Sendable, CustomTestStringConvertible {
    var name: String
    var type = ScalarType.f32
    var scheme: String?
    var bits = 4
    var parameters = ScalarType.f16
    var isPooled = true
    var format = "pleat"
    var options = FoldOptions()

    var testDescription: String { name }
  }

  static let proven = [
    Way(name: "F16", type: .f16, isPooled: false, format: "safetensors"),
    Way(name: "BF16", type: .bf16, isPooled: false, format: "safetensors"),
    Way(name: "F32", isPooled: false, format: "safetensors"),
    Way(name: "F16, pooled", type: .f16, format: "safetensors"),
    Way(name: "F16 in gguf", type: .f16, isPooled: false, format: "gguf"),
    Way(name: "F16 to pleat", type: .f16, isPooled: false),
    Way(name: "F16 biases", scheme: "minmax"),
    Way(name: "BF16 biases", scheme: "minmax", parameters: .bf16),
    Way(name: "F32 biases", scheme: "minmax", parameters: .f32),
    Way(name: "F16 biases of 2 bits", scheme: "minmax", bits: 2),
    Way(name: "F16 biases of 8 bits", scheme: "minmax", bits: 8),
    Way(name: "new biases", scheme: "symmetric"),
    Way(name: "new BF16 biases", scheme: "symmetric", parameters: .bf16),
    Way(name: "new F32 biases", scheme: "symmetric", parameters: .f32),
    Way(name: "other biases", scheme: "minmax", options: .with(biasType: .f32)),
    Way(name: "biases for zero points", scheme: "zeropoint", options: .with(biasType: .f16)),
    Way(name: "zero points", scheme: "zeropoint", options: .with(rounds: true)),
    Way(
      name: "BF16 zero points", scheme: "zeropoint", bits: 3, parameters: .bf16,
      options: .with(rounds: true)),
    Way(name: "wider codes", scheme: "zeropoint", options: .with(widenedBits: 8)),
    Way(
      name: "wider BF16 codes", scheme: "zeropoint", bits: 3, parameters: .bf16,
      options: .with(widenedBits: 8)),
    Way(name: "little wider codes", scheme: "zeropoint", bits: 2, options: .with(widenedBits: 4)),
    Way(name: "Q4_1", scheme: "minmax", format: "gguf"),
    Way(name: "Q4_0, which becomes Q4_1", scheme: "symmetric", format: "gguf"),
    Way(name: "Q5_1", scheme: "minmax", bits: 5, format: "gguf"),
    Way(name: "narrow codes in wide blocks", scheme: "minmax", bits: 3, format: "gguf"),
  ]

  /// A base model, and an adapter for two of its three weights.
  private func prepared(_ way: Way, seed: UInt64 = 881) throws -> (
    base: Model, applied: AppliedAdapter
  ) {
    var base = try Models.make(
      [
        Toy("a.weight", way.type, [30, 128], seed: 882),
        Toy("b.weight", way.type, [5, 64], seed: 883),
        Toy("c.weight", way.type, [5, 64], seed: 884), Toy("norm.weight", .f32, [64], seed: 885),
      ], in: folder.scratch, metadata: [("general.architecture", "llama")],
      as: "source.safetensors")
    if let scheme = way.scheme {
      let recipe = try Recipe.with(bits: way.bits, scheme: scheme, parameters: way.parameters)
      base = try folder.quantize(base, recipe, to: "base.pleat")
    }
    return (base, try applied(way, seed: seed, as: "adapter"))
  }

  private func applied(
    _ way: Way, seed: UInt64, as name: String, scale: Double = 1
  ) throws -> AppliedAdapter {
    let width = way.isPooled ? 32 : 1
    return try folder.applied(
      [
        ToyFactors("a", 30, 128 / width, seed: seed),
        ToyFactors("b", 5, 64 / width, seed: seed + 1000),
      ],
      as: name, scale: scale, pooling: way.isPooled ? .sum : nil)
  }

  @Test("a correct fold is proven weight by weight (seed 881)", arguments: proven)
  func holds(way: Way) throws {
    let (base, applied) = try prepared(way)
    let result = try folder.fold([applied], into: base, to: "out.\(way.format)", way.options)
    let found = try Verification(of: result.model, against: base, adapters: [applied])
    #expect(found.holds && found.isFaithful)
    let folds = try #require(found.comparisons).filter { $0.fold != nil }
    // A weight without an adapter is proven too if the output stores it in another encoding.
    let isReencoded =
      result.plan.job("c.weight")?.target.encoding
      != result.model.catalog.tensors[try #require(result.model.index(of: "c.weight"))].encoding
    let names = ["a.weight", "b.weight"] + (isReencoded ? ["c.weight"] : [])
    #expect(folds.map(\.name).sorted() == names)
    for comparison in folds {
      #expect(comparison.fold?.isProven == true)
      guard comparison.name != "c.weight" else { continue }
      // For F32, the fold uses the same arithmetic as the proof.
      let isExact = way.scheme == nil && way.type == .f32
      #expect((comparison.fold?.largestError == 0) == isExact)
    }
    #expect(found.fold?.changedCodeCount == 0)
    let codeCount = 30 * 128 + (isReencoded ? 2 : 1) * 5 * 64
    #expect(found.fold?.codeCount == (way.scheme == nil ? 0 : codeCount))
    // The error equals the one that the run measured.
    let measured = result.report.total.adapterError
    let difference = abs((found.fold?.adapterError ?? 0) - measured)
    #expect(difference <= 1e-3 * measured || measured < 1e-5)
  }

  @Test(
    "verification with another adapter, another scale or none fails (seed 881)", arguments: proven)
  func otherAdapters(way: Way) throws {
    let (base, applied) = try prepared(way)
    let result = try folder.fold([applied], into: base, to: "out.\(way.format)", way.options)
    let other = try self.applied(way, seed: 886, as: "other")
    var stronger = applied
    stronger.scale = 1.5
    var negative = applied
    negative.scale = -1
    for wrong in [[other], [stronger], [negative], [applied, applied]] {
      let found = try Verification(of: result.model, against: base, adapters: wrong)
      #expect(!found.holds && !found.isFaithful)
      #expect(found.faults.isEmpty && found.mismatches.isEmpty)
      let first = try #require(found.comparisons?.first)
      #expect(first.fold != nil && !found.accepts(first))
      #expect(first.fold?.measurement.changedCodeCount == 0)
    }
    // The base model does not pass as the fold, unless no zero point changed.
    let isChanged = try base.parts("a.weight") != result.model.parts("a.weight")
    #expect(isChanged || way.scheme == "zeropoint")
    if result.model.catalog.tensors == base.catalog.tensors {
      let found = try Verification(of: base, against: base, adapters: [applied])
      #expect(found.isFaithful != isChanged)
    }
    #expect(!(try Verification(of: result.model, against: base, tolerance: 0)).isFaithful)
  }

  @Test("folds of several adapters, and unfolding one, are proven (seed 881)")
  func several() throws {
    let way = Self.proven[6]
    let (base, applied) = try prepared(way)
    let other = try self.applied(way, seed: 887, as: "other", scale: -0.5)
    let result = try folder.fold([applied, other], into: base, to: "out.pleat")
    #expect(try Verification(of: result.model, against: base, adapters: [applied, other]).holds)
    // Folding one after the other rounds twice, so only each step is proven.
    let first = try folder.fold([applied], into: base, to: "1.pleat")
    let second = try folder.fold([other], into: first.model, to: "2.pleat")
    #expect(try Verification(of: second.model, against: first.model, adapters: [other]).holds)
    var back = applied
    back.scale = -1
    let third = try folder.fold([back], into: first.model, to: "3.pleat")
    #expect(try Verification(of: third.model, against: first.model, adapters: [back]).holds)
  }

  @Test("a fold of an attached adapter is proven with the attached adapter")
  func attached() throws {
    let way = Self.proven[6]
    let (base, applied) = try prepared(way)
    let both = try folder.attach([applied], names: ["one"], to: base, at: "both.pleat")
    let attached = AppliedAdapter(try #require(try AdapterFile(attached: "one", in: both)))
    let result = try folder.fold([attached], into: both, to: "out.pleat")
    #expect(try Verification(of: result.model, against: both, adapters: [attached]).holds)
    #expect(try Verification(of: result.model, against: base, adapters: [applied]).holds)
  }

  @Test(
    "folds of biases, replacements and DoRA are proven in plain weights (seed 888)",
    arguments: [
      ScalarType.f16, .bf16, .f32,
    ])
  func otherChanges(type: ScalarType) throws {
    let base = try Models.make(
      [
        Toy("a.weight", type, [6, 64], seed: 888), Toy("a.bias", type, [6], seed: 889),
        Toy("b.weight", type, [6, 64], seed: 890), Toy("norm.weight", type, [9], seed: 891),
      ], in: folder.scratch, as: "source.safetensors")
    var random = Seeded(892)
    let lengths = random.weights(6).map { $0.magnitude + 1 }
    let vectors = try folder.applied(
      [ToyFactors("a", 6, 64, seed: 893)],
      [
        Toy("base_model.model.a.lora_B.bias", .f32, [6], lengths),
        Toy("base_model.model.norm.weight", .f32, [9], seed: 894),
      ], "\"lora_bias\":true", as: "vectors")
    let dora = try folder.applied(
      [ToyFactors("b", 6, 64, seed: 895)],
      [Toy("base_model.model.b.lora_magnitude_vector", .f32, [6], lengths)],
      "\"use_dora\":true", as: "dora")
    for (applied, count) in [(vectors, 3), (dora, 1)] {
      let name = "\(applied.file.name).safetensors"
      let result = try folder.fold([applied], into: base, to: name)
      let found = try Verification(of: result.model, against: base, adapters: [applied])
      #expect(found.holds)
      #expect(found.comparisons?.count { $0.fold?.isProven == true } == count)
    }
  }

  @Test(
    "a requantized fold is not proven, but passes with a tolerance (seed 881)",
    arguments: Recipe.schemeNames)
  func requantized(scheme: String) throws {
    let way = Way(
      name: "", scheme: scheme, isPooled: false, options: .with(requantizes: true))
    let (base, applied) = try prepared(way)
    let result = try folder.fold([applied], into: base, to: "out.pleat", way.options)
    let found = try Verification(of: result.model, against: base, adapters: [applied])
    #expect(!found.holds && !found.isFaithful)
    #expect(found.comparisons?.filter { $0.fold != nil }.allSatisfy { !found.accepts($0) } == true)
    #expect((found.fold?.changedCodeCount ?? 0) > 0)
    let worst = found.comparisons?.map(\.relativeError).max() ?? 0
    #expect(worst > 0 && worst < 0.5)
    func verify(_ tolerance: Double) throws -> Verification {
      try Verification(of: result.model, against: base, adapters: [applied], tolerance: tolerance)
    }
    #expect(try verify(worst).holds)
    #expect(!(try verify(worst * 0.999)).holds)
  }

  @Test("a fold made while quantizing is proven against the quantized model only (seed 881)")
  func quantizing() throws {
    let (source, applied) = try prepared(Way(name: "", isPooled: true))
    let model = try folder.quantize(source, Recipe(), to: "direct.pleat", adding: [applied])
    #expect(!(try Verification(of: model, against: source, adapters: [applied])).holds)
    #expect(
      try Verification(of: model, against: source, adapters: [applied], tolerance: 0.2).holds)
    let base = try folder.quantize(source, Recipe(), to: "base.pleat")
    #expect(try Verification(of: model, against: base, adapters: [applied]).holds)
  }
}
