import Formats
import Kernels
import Pleat
import TensorModel
import TestSupport
import Testing

/// Adapters and the modes of MLX whose codes are numbers themselves.
@Suite struct MLXModeFoldTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private static let path = "model.layers.0.mlp.up_proj"
  private static let factors = ToyFactors(path, 64, 128, seed: 731)
  private static let weight = Toy("\(path).weight", .bf16, [64, 128], seed: 730)

  private func recipe(_ mode: ScaledMode) -> Recipe {
    var recipe = Recipe()
    recipe.mode = mode
    return recipe
  }

  /// The sums of weights and adapter, in float32.
  private func sums(_ base: [Float]) -> [Float] {
    base.indices.map { index in
      Float(Double(base[index]) + 3 * Self.factors.element(index / 128, index % 128).value)
    }
  }

  /// The number of codes that differ from those of the sums, and the number of all.
  private func difference(
    _ model: Model, _ sums: [Float], _ mode: ScaledMode
  ) throws -> (codes: Int, count: Int) {
    var codes = [UInt8](repeating: 0, count: sums.count * mode.bits / 8)
    var scales = [UInt8](repeating: 0, count: sums.count / mode.groupSize)
    var codeSpan = codes.mutableSpan
    var codeBytes = codeSpan.mutableBytes
    var scaleSpan = scales.mutableSpan
    var scaleBytes = scaleSpan.mutableBytes
    try ScaledKernel(mode, arithmetic: .float32).encode(
      sums.span, codes: &codeBytes, scales: &scaleBytes)
    let found = try model.part(.codes, of: "\(Self.path).weight")
    return (zip(found, codes).count { $0 != $1 }, codes.count)
  }

  @Test("quantize adds an adapter before it rounds, in F32", arguments: ScaledMode.allCases)
  func quantizing(mode: ScaledMode) throws {
    let source = try folder.checkpoint([Self.weight])
    let adapter = try folder.applied([Self.factors])
    let plan = try Plan.quantizing(
      source, recipe(mode), to: try folder.destination("1.mlx"), adding: [adapter])
    let report = try #require(try Run(plan)().fold)
    #expect(report.tensors.allSatisfy { $0.isRoundedAfter && $0.action == .quantize })
    let model = try Model.open(folder.scratch.path("1.mlx"))
    // The sums of the fold may differ in their last bit.
    let found = try difference(model, sums(Numbers.floats(Self.weight.bytes, .bf16)), mode)
    #expect(found.codes * 1000 < found.count)
    // The error of the whole weight, from what was written.
    let floats = try model.floats(in: folder.scratch)
    let written = try #require(floats["\(Self.path).weight"])
    let base = Numbers.floats(Self.weight.bytes, .bf16)
    var (errors, squares) = (0.0, 0.0)
    for index in base.indices {
      let delta = 3 * Self.factors.element(index / 128, index % 128).value
      let error = Double(written[index]) - Double(base[index]) - delta
      errors += error * error
      squares += delta * delta
    }
    let expected = (errors / squares).squareRoot()
    #expect((report.total.adapterError - expected).magnitude < 1e-3 * expected)
  }

  @Test(
    "a fold decodes such a base, or rounds it again with --requantize",
    arguments: ScaledMode.allCases)
  func folding(mode: ScaledMode) throws {
    let source = try folder.checkpoint([Self.weight])
    let adapter = try folder.applied([Self.factors])
    for format in ["mlx", "pleat"] {
      let base = try folder.quantize(source, recipe(mode), to: "base.\(format)")
      let decoded = try folder.fold([adapter], into: base, to: "plain.\(format)")
      #expect(decoded.model.catalog.tensors[0].encoding == .plain(.bf16))
      #expect(!decoded.plan.isLossy)
      let before = try base.floats(in: folder.scratch)
      let again = try folder.fold(
        [adapter], into: base, to: "again.\(format)", .with(requantizes: true))
      #expect(again.plan.isLossy)
      #expect(again.model.catalog.tensors[0].encoding == base.catalog.tensors[0].encoding)
      #expect(again.report.tensors.allSatisfy { !$0.isRoundedAfter && $0.action == .quantize })
      #expect(again.report.total.adapterError > decoded.report.total.adapterError)
      let found = try difference(
        again.model, sums(try #require(before["\(Self.path).weight"])), mode)
      #expect(found.codes * 1000 < found.count)
    }
  }
}
