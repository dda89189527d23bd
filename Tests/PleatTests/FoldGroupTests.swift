import Formats
import Pleat
import TestSupport
import Testing

/// Folds of pooled adapters into the offsets of groups.
@Suite struct FoldGroupTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  /// One number for each group of 32 in 6 rows of 128 columns.
  private static let factors = ToyFactors("a", 6, 4, seed: 520)

  private static let bases = Every.triple(
    of: Grouping.supportedBits, Recipe.schemeNames, Grouping.supportedParameters
  ).filter { bits, scheme, parameters in
    Recipe.schemeNames(bits: bits, parameters).contains(scheme)
  }

  /// The bases whose groups have biases after a fold; `FoldZeroPointTests` has the others.
  private static let basesOfBiases = bases.filter { _, scheme, _ in scheme != "zeropoint" }

  @Test("the bases cover every scheme but zeropoint") func presence() {
    let schemes = Set(Self.basesOfBiases.map { $0.1 })
    #expect(schemes == Set(Recipe.schemeNames).subtracting(["zeropoint"]))
    #expect(Self.basesOfBiases.count > 40)
  }

  private func base(
    _ bits: Int, _ scheme: String, _ parameters: ScalarType, group: Int = 32,
    compresses: Bool = false
  ) throws -> Model {
    let model = try Models.make(
      [
        Toy("a.weight", .f32, [6, 128], seed: 521), Toy("b.weight", .f32, [3, 128], seed: 522),
        Toy("norm.weight", .f32, [7], seed: 523),
      ], in: folder.scratch, as: "source.safetensors")
    return try folder.quantize(
      model, try .with(bits: bits, group: .columns(group), scheme: scheme, parameters: parameters),
      to: "base.pleat", compresses: compresses)
  }

  private func applied(
    _ factors: ToyFactors = factors, as name: String = "adapter", scale: Double = 1
  ) throws -> AppliedAdapter {
    try folder.applied([factors], as: name, scale: scale, pooling: .sum)
  }

  /// The change of the weights of a group, and the tolerance for computing it in float32.
  private func delta(
    _ factors: ToyFactors, _ row: Int, _ group: Int, _ scale: Double
  ) -> (value: Double, slack: Double) {
    let element = factors.element(row, group)
    return (3 * scale * element.value, 3 * scale.magnitude * element.size * 6 * 0x1p-24)
  }

  /// Checks a fold: equal codes and scales, and offsets that are changed and rounded once.
  private func check(
    _ after: StoredGroups, _ before: StoredGroups, _ factors: ToyFactors, scale: Double
  ) {
    #expect(after.codes == before.codes)
    #expect(after.scales.map(\.bitPattern) == before.scales.map(\.bitPattern))
    let perRow = before.columnCount / before.grouping.groupSize
    let ratio = perRow / factors.width
    for index in after.offsets.indices {
      let (row, group) = index.quotientAndRemainder(dividingBy: perRow)
      let delta = delta(factors, row, group / ratio, scale)
      let wanted = before.offsets[index] + delta.value
      let limit =
        after.grouping.parameters.halfStep(at: wanted) + delta.slack
        + (wanted.magnitude + before.offsets[index].magnitude) * 0x1p-24
      #expect((after.offsets[index] - wanted).magnitude <= limit, "row \(row), group \(group)")
    }
  }

  @Test(
    "a fold changes only biases, which are rounded once (seed 520)",
    arguments: basesOfBiases)
  func moves(bits: Int, scheme: String, parameters: ScalarType) throws {
    let base = try base(bits, scheme, parameters)
    let scale = bits % 2 == 0 ? 1 : -0.5
    let result = try folder.fold([try applied(scale: scale)], into: base, to: "out.pleat")
    let before = try #require(try StoredGroups(base, "a.weight"))
    let after = try #require(try StoredGroups(result.model, "a.weight"))
    #expect(after.grouping.offset == .bias)
    #expect(after.grouping.bits == bits && after.grouping.parameters == parameters)
    check(after, before, Self.factors, scale: scale)
    let (left, right) = (try base.parts("a.weight"), try result.model.parts("a.weight"))
    #expect(left[.codes] == right[.codes] && left[.scales] == right[.scales])
    #expect(!result.plan.isLossy)
    #expect(result.report.total.changedCodeCount == 0)
    #expect(result.report.total.codeCount == 6 * 128)
    for name in ["b.weight", "norm.weight"] {
      #expect(try result.model.parts(name) == base.parts(name))
    }
  }

  @Test("an adapter without effect changes no weight (seed 520)", arguments: bases)
  func identity(bits: Int, scheme: String, parameters: ScalarType) throws {
    let base = try base(bits, scheme, parameters)
    let result = try folder.fold(
      [try applied(Self.factors.withoutEffect)], into: base, to: "out.pleat", .with(rounds: true))
    #expect(result.report.total.sumOfSquares == 0)
    if scheme == "symmetric" || scheme == "ggml" && bits == 8 {
      // The implicit offset, the scale times a power of two, is now stored exactly as a bias.
      let before = try #require(try StoredGroups(base, "a.weight"))
      let after = try #require(try StoredGroups(result.model, "a.weight"))
      for index in before.codes.indices { #expect(after.weight(index) == before.weight(index)) }
    } else {
      #expect(try result.model.allParts() == base.allParts())
    }
  }

  @Test(
    "a fold into a compressed file gives the same parts as into a raw one (seed 520)",
    arguments: [2, 4, 8])
  func compressed(bits: Int) throws {
    let base = try base(bits, "minmax", .f16, compresses: true)
    let result = try folder.fold([try applied()], into: base, to: "1.pleat", compresses: true)
    let raw = try folder.fold([try applied()], into: base, to: "2.pleat")
    #expect(try result.model.allParts() == raw.model.allParts())
    let (left, right) = (try base.parts("a.weight"), try result.model.parts("a.weight"))
    #expect(left[.codes] == right[.codes] && left[.scales] == right[.scales])
    #expect(left[.biases] != right[.biases])
    #expect(try Verification(of: result.model, against: raw.model, tolerance: 0).holds)
  }

  @Test(
    "--bias-type sets the type of scales and biases (seed 520)",
    arguments: ["minmax", "symmetric", "zeropoint"], [ScalarType.f16, .bf16, .f32])
  func biasType(scheme: String, type: ScalarType) throws {
    // In this range, F16 and F32 hold every BF16 scale exactly.
    let base = try base(4, scheme, .bf16)
    let result = try folder.fold(
      [try applied()], into: base, to: "out.pleat", .with(biasType: type))
    let before = try #require(try StoredGroups(base, "a.weight"))
    let after = try #require(try StoredGroups(result.model, "a.weight"))
    #expect(after.grouping.offset == .bias && after.grouping.parameters == type)
    check(after, before, Self.factors, scale: 1)
    let hasNote = result.plan.notes.contains {
      $0.contains("BF16") && $0.contains("--bias-type F16")
    }
    #expect(hasNote == (type == .bf16))
  }

  @Test("a scale that --bias-type cannot hold exactly is an error (seed 520)")
  func inexactScale() throws {
    let base = try base(4, "minmax", .f32)
    for type in [ScalarType.f16, .bf16] {
      let found = try folder.error(
        [try applied()], into: base, to: "out.pleat", .with(biasType: type))
      #expect(found.error?.kind == .unsupported)
      #expect(found.error?.tensor == "a.weight")
      #expect(found.error?.found?.contains("in row 0, group 0") == true)
      #expect(found.isClean)
    }
  }

  @Test(
    "an adapter group may cover several groups of the base model (seed 524)",
    arguments: [16, 32, 64])
  func expanded(group: Int) throws {
    let base = try base(4, "minmax", .f16, group: group)
    let factors = ToyFactors("a", 6, 2, seed: 524)
    let result = try folder.fold([try applied(factors)], into: base, to: "out.pleat")
    let before = try #require(try StoredGroups(base, "a.weight"))
    check(try #require(try StoredGroups(result.model, "a.weight")), before, factors, scale: 1)
  }

  @Test("adapter groups smaller than those of the base model are refused with both sizes")
  func smallerGroups() throws {
    let base = try base(4, "minmax", .f16)
    let applied = try applied(ToyFactors("a", 6, 8, seed: 525))
    let found = try folder.error([applied], into: base, to: "out.pleat")
    #expect(found.error?.kind == .unsupported)
    #expect(found.error?.what.contains("groups of 16") == true)
    #expect(found.error?.what.contains("groups of 32") == true)
    #expect(found.error?.expected?.contains("--requantize") == true)
    #expect(found.isClean)
  }

  @Test(
    "adapters whose group sizes do not divide each other are folded together (seed 526)"
  )
  func mixedGroups() throws {
    let source = try Models.make(
      [Toy("a.weight", .f32, [6, 192], seed: 526)], in: folder.scratch, as: "source.safetensors")
    let base = try folder.quantize(source, try .with(group: .columns(32)), to: "base.pleat")
    let factors = [ToyFactors("a", 6, 3, seed: 527), ToyFactors("a", 6, 2, seed: 528)]
    let adapters = [try applied(factors[0], as: "64"), try applied(factors[1], as: "96")]
    let result = try folder.fold(adapters, into: base, to: "out.pleat")
    let before = try #require(try StoredGroups(base, "a.weight"))
    let after = try #require(try StoredGroups(result.model, "a.weight"))
    #expect(after.codes == before.codes)
    for index in after.offsets.indices {
      let (row, group) = index.quotientAndRemainder(dividingBy: 6)
      let deltas = [delta(factors[0], row, group / 2, 1), delta(factors[1], row, group / 3, 1)]
      let wanted = before.offsets[index] + deltas[0].value + deltas[1].value
      let limit =
        ScalarType.f16.halfStep(at: wanted) + deltas[0].slack + deltas[1].slack
        + (wanted.magnitude + before.offsets[index].magnitude) * 0x1p-22
      #expect((after.offsets[index] - wanted).magnitude <= limit)
    }
  }

  @Test("two adapters are folded in one pass and rounded once (seed 529)")
  func two() throws {
    let base = try base(3, "minmax", .f16)
    let factors = [Self.factors, ToyFactors("a", 6, 4, seed: 529)]
    let adapters = [try applied(factors[0], as: "1"), try applied(factors[1], as: "2", scale: -2)]
    let result = try folder.fold(adapters, into: base, to: "out.pleat")
    let before = try #require(try StoredGroups(base, "a.weight"))
    let after = try #require(try StoredGroups(result.model, "a.weight"))
    for index in after.offsets.indices {
      let deltas = [
        delta(factors[0], index / 4, index % 4, 1), delta(factors[1], index / 4, index % 4, -2),
      ]
      let wanted = before.offsets[index] + deltas[0].value + deltas[1].value
      let limit =
        ScalarType.f16.halfStep(at: wanted) + deltas[0].slack + deltas[1].slack
        + (wanted.magnitude + before.offsets[index].magnitude) * 0x1p-22
      #expect((after.offsets[index] - wanted).magnitude <= limit)
    }
  }

  @Test(
    "folding and unfolding gives the base model up to two roundings (seed 520)",
    arguments: Grouping.supportedParameters)
  func back(parameters: ScalarType) throws {
    let base = try base(4, "minmax", parameters)
    let there = try folder.fold([try applied()], into: base, to: "1.pleat")
    let back = try folder.fold([try applied(scale: -1)], into: there.model, to: "2.pleat")
    let before = try #require(try StoredGroups(base, "a.weight"))
    let between = try #require(try StoredGroups(there.model, "a.weight"))
    let after = try #require(try StoredGroups(back.model, "a.weight"))
    #expect(after.codes == before.codes)
    #expect(after.offsets != between.offsets)
    for index in before.offsets.indices {
      let sizes = (before.offsets[index], between.offsets[index])
      let limit =
        parameters.halfStep(at: sizes.0) + parameters.halfStep(at: sizes.1)
        + (sizes.0.magnitude + sizes.1.magnitude) * 0x1p-23
      #expect((after.offsets[index] - sizes.0).magnitude <= limit)
    }
  }
}
