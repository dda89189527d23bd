import Pleat
import TestSupport
import Testing

/// Folds into groups with integer zero points.
@Suite struct FoldZeroPointTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private static let factors = ToyFactors("a", 6, 4, scale: 1, seed: 540)

  private func base(_ bits: Int, _ parameters: ScalarType = .f16) throws -> Model {
    let model = try Models.make(
      [Toy("a.weight", .f32, [6, 128], seed: 541)], in: folder.scratch, as: "source.safetensors")
    return try folder.quantize(
      model, try .with(bits: bits, scheme: "zeropoint", parameters: parameters), to: "base.pleat")
  }

  private func applied(_ factors: ToyFactors = factors) throws -> AppliedAdapter {
    try folder.applied([factors], pooling: .sum)
  }

  @Test(
    "rounding zero points needs --round, and the error states the loss", arguments: [2, 4, 8])
  func permission(bits: Int) throws {
    let base = try base(bits)
    let found = try folder.error([try applied()], into: base, to: "out.pleat")
    #expect(found.error?.kind == .unsupported)
    #expect(found.error?.tensor == "a.weight")
    #expect(found.error?.expected?.contains("--round") == true)
    #expect(found.isClean)
    let plan = try Plan.folding(
      [try applied()], into: base,
      to: Destination(path: folder.scratch.path("out.pleat"), format: .pleat),
      options: .with(rounds: true))
    let loss = Percentage.text(try Run(plan).measured().total.adapterError)
    #expect(found.error?.what.contains("would lose \(loss) ") == true)
    #expect(plan.isLossy)
  }

  @Test(
    "zero points are rounded to the nearest code (seed 540)",
    arguments: Grouping.supportedBits, Grouping.supportedParameters)
  func rounding(bits: Int, parameters: ScalarType) throws {
    let base = try base(bits, parameters)
    let result = try folder.fold([try applied()], into: base, to: "out.pleat", .with(rounds: true))
    let before = try #require(try StoredGroups(base, "a.weight"))
    let after = try #require(try StoredGroups(result.model, "a.weight"))
    #expect(after.grouping == before.grouping)
    #expect(after.codes == before.codes && after.scales == before.scales)
    var moved = 0
    for index in before.zeros.indices {
      let delta = 3 * Self.factors.element(index / 4, index % 4).value
      let exact = before.zeros[index] - delta / before.scales[index]
      let wanted = min(max(exact, 0), Double((1 << bits) - 1))
      #expect((after.zeros[index] - wanted).magnitude <= 0.5 + 1e-4)
      if after.zeros[index] != before.zeros[index] { moved += 1 }
    }
    #expect(moved > 0)
    #expect(result.plan.isLossy)
    #expect(result.report.total.changedCodeCount == 0)
  }

  @Test(
    "widening multiplies codes, and zero points are rounded to the finer step (seed 540)",
    arguments: [(2, 4), (2, 8), (3, 4), (3, 8), (4, 5), (4, 8), (6, 8)])
  func widening(bits: Int, wider: Int) throws {
    let base = try base(bits)
    let result = try folder.fold(
      [try applied()], into: base, to: "out.pleat", .with(widenedBits: wider))
    let before = try #require(try StoredGroups(base, "a.weight"))
    let after = try #require(try StoredGroups(result.model, "a.weight"))
    let factor = Double(((1 << wider) - 1) / ((1 << bits) - 1))
    #expect(after.grouping.bits == wider && after.grouping.offset == .zeroPoint)
    #expect(after.codes.map(Double.init) == before.codes.map { Double($0) * factor })
    #expect(result.report.total.changedCodeCount == 0)
    for index in before.zeros.indices {
      let scale = before.scales[index] / factor
      #expect((after.scales[index] - scale).magnitude <= ScalarType.f16.halfStep(at: scale) * 1.001)
      let delta = 3 * Self.factors.element(index / 4, index % 4).value
      let exact = before.zeros[index] * factor - delta / scale
      let wanted = min(max(exact, 0), Double((1 << wider) - 1))
      #expect((after.zeros[index] - wanted).magnitude <= 0.5 + 1e-3 * max(1, exact.magnitude))
    }
  }

  @Test(
    "widening makes the adapter error smaller, --bias-type smaller still (seed 540)",
    arguments: [2, 3, 4])
  func gain(bits: Int) throws {
    let base = try base(bits)
    let factors = ToyFactors("a", 6, 4, scale: 0.02, seed: 540)
    let narrow = try folder.fold(
      [try applied(factors)], into: base, to: "1.pleat", .with(rounds: true))
    let wide = try folder.fold(
      [try applied(factors)], into: base, to: "2.pleat", .with(widenedBits: 8))
    let real = try folder.fold(
      [try applied(factors)], into: base, to: "3.pleat", .with(biasType: .f16))
    #expect(wide.report.total.adapterError < 0.7 * narrow.report.total.adapterError)
    #expect(real.report.total.adapterError < 0.2 * wide.report.total.adapterError)
  }

  @Test("--widen is a usage error if no weight needs it", arguments: ["minmax", "zeropoint"])
  func uselessWidening(scheme: String) throws {
    let model = try Models.make(
      [Toy("a.weight", .f32, [6, 128], seed: 541)], in: folder.scratch, as: "source.safetensors")
    let base = try folder.quantize(model, try .with(bits: 8, scheme: scheme), to: "base.pleat")
    let found = try folder.error(
      [try applied()], into: base, to: "out.pleat", .with(rounds: true, widenedBits: 8))
    #expect(found.error?.kind == .usage)
    #expect(found.error?.found == "--widen 8")
    #expect(found.isClean)
  }
}
