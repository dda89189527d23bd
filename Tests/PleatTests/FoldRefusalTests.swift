import Formats
import Pleat
import TestSupport
import Testing

/// Folds that need permission, and folds that are refused.
@Suite struct FoldRefusalTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private func source(_ type: ScalarType = .f32) throws -> Model {
    try Models.make(
      [Toy("a.weight", type, [6, 128], seed: 581), Toy("norm.weight", type, [6], seed: 582)],
      in: folder.scratch, as: "source.safetensors")
  }

  private func quantized(_ scheme: String, bits: Int = 4) throws -> Model {
    try folder.quantize(try source(), try .with(bits: bits, scheme: scheme), to: "\(scheme).pleat")
  }

  private static let lora = ToyFactors("a", 6, 128, seed: 583)

  @Test(
    "folding LoRA into codes needs --requantize, and the error states the loss (seed 583)",
    arguments: Every.pair(of: Recipe.schemeNames, [2, 4, 8]).filter {
      Recipe.schemeNames(bits: $1).contains($0)
    })
  func requantizing(scheme: String, bits: Int) throws {
    let base = try quantized(scheme, bits: bits)
    let applied = try folder.applied([Self.lora])
    let found = try folder.error([applied], into: base, to: "out.pleat")
    #expect(found.error?.kind == .unsupported)
    #expect(found.error?.tensor == "a.weight")
    #expect(found.error?.expected?.contains("--requantize") == true)
    #expect(found.isClean)
    let result = try folder.fold([applied], into: base, to: "out.pleat", .with(requantizes: true))
    let loss = Percentage.text(result.report.total.adapterError)
    #expect(found.error?.what.contains("would lose \(loss) of the adapter") == true)
    #expect(result.plan.isLossy)
    let after = try #require(try StoredGroups(result.model, "a.weight"))
    let before = try #require(try StoredGroups(base, "a.weight"))
    #expect(after.grouping == before.grouping)
    let changed = zip(after.codes, before.codes).count { $0 != $1 }
    #expect(changed > 0)
    #expect(result.report.total.changedCodeCount == changed)
    #expect(result.report.total.codeCount == 768)
  }

  @Test(
    "requantizing rounds the sum of the decoded base and the adapter (seed 583)",
    arguments: Recipe.schemeNames)
  func rounding(scheme: String) throws {
    let base = try quantized(scheme)
    let applied = try folder.applied([Self.lora])
    let result = try folder.fold([applied], into: base, to: "out.pleat", .with(requantizes: true))
    let before = try #require(try StoredGroups(base, "a.weight"))
    let after = try #require(try StoredGroups(result.model, "a.weight"))
    let wanted = (0..<768).map {
      before.weight($0) + 3 * Self.lora.element($0 / 128, $0 % 128).value
    }
    for group in 0..<24 {
      let columns = group * 32..<(group + 1) * 32
      let error = columns.reduce(0) { sum, index in
        sum + (after.weight(index) - wanted[index]) * (after.weight(index) - wanted[index])
      }
      // As if 16 codes divided the range up to the largest magnitude on both sides.
      let step = 2 * wanted[columns].reduce(0) { max($0, $1.magnitude) } / 15
      #expect((error / 32).squareRoot() <= 0.51 * step + 2e-3, "group \(group)")
    }
  }

  @Test("DoRA and whole tensors cannot be folded into codes") func neverInCodes() throws {
    let base = try quantized("minmax")
    let lengths = [Float](repeating: 1, count: 6)
    let dora = try folder.applied(
      [Self.lora], [Toy("a.lora_magnitude_vector", .f32, [6], lengths)], "\"use_dora\":true",
      as: "dora")
    let whole = try folder.applied([], [Toy("a.weight", .f32, [6, 128], seed: 584)], as: "whole")
    for applied in [dora, whole] {
      for options in [FoldOptions(), .with(requantizes: true, rounds: true)] {
        let found = try folder.error([applied], into: base, to: "out.pleat", options)
        #expect(found.error?.kind == .unsupported)
        #expect(found.error?.found?.hasPrefix("a.weight: ") == true)
        #expect(found.isClean)
      }
    }
  }

  @Test("DoRA and replacements are folded with scale 1 only", arguments: [-1, 0.5, 2])
  func strength(scale: Double) throws {
    let base = try source()
    let lengths = [Float](repeating: 1, count: 6)
    let dora = try folder.applied(
      [Self.lora], [Toy("a.lora_magnitude_vector", .f32, [6], lengths)], "\"use_dora\":true",
      as: "dora", scale: scale)
    let whole = try folder.applied(
      [Self.lora], [Toy("norm.weight", .f32, [6], lengths)], as: "whole", scale: scale)
    for (applied, tensor) in [(dora, "a.lora_B.weight"), (whole, "norm.weight")] {
      let found = try folder.error([applied], into: base, to: "out.safetensors")
      #expect(found.error?.kind == .unsupported)
      #expect(found.error?.tensor?.hasSuffix(tensor) == true)
      #expect(found.error?.expected == "--scale 1")
      #expect(found.isClean)
    }
  }

  @Test("a replacement after another change is refused; a change after it is not")
  func replacedAndChanged() throws {
    var random = Seeded(585)
    let values = random.weights(768)
    let whole = try folder.applied([], [Toy("a.weight", .f32, [6, 128], values)], as: "whole")
    let lora = try folder.applied([Self.lora])
    let found = try folder.error([lora, whole], into: try source(), to: "out.safetensors")
    #expect(found.error?.kind == .unsupported)
    #expect(found.error?.found?.hasPrefix("a.weight: ") == true)
    let result = try folder.fold([whole, lora], into: try source(), to: "out.safetensors")
    let after = Numbers.floats(f32: try result.model.part(.values, of: "a.weight"))
    for index in 0..<768 {
      let wanted = Double(values[index]) + 3 * Self.lora.element(index / 128, index % 128).value
      #expect((Double(after[index]) - wanted).magnitude <= 1e-6)
    }
  }

  @Test("--pooling for an adapter that is not pooled is a usage error")
  func uselessPooling() throws {
    let applied = try folder.applied([Self.lora], pooling: .mean)
    let found = try folder.error([applied], into: try source(), to: "out.safetensors")
    #expect(found.error?.kind == .usage)
    #expect(found.error?.found == "--pooling mean")
  }

  @Test("a pooled adapter needs --pooling, which must not contradict its config")
  func pooling() throws {
    let factors = ToyFactors("a", 6, 4, seed: 586)
    let silent = try folder.error(
      [try folder.applied([factors])], into: try source(), to: "out.safetensors")
    #expect(silent.error?.kind == .usage)
    let config = "\"use_qalora\":true,\"qalora_group_size\":32"
    let contradicted = try folder.error(
      [try folder.applied([factors], [], config, pooling: .sum)], into: try source(),
      to: "out.safetensors")
    #expect(contradicted.error?.kind == .mismatch)
    #expect(contradicted.error?.expected == "--pooling peft")
    #expect(silent.isClean)
  }

  // MARK: - Numbers that are not finite

  static let nonFinite: [Float] = [.nan, .infinity, -.infinity]

  @Test(
    "a factor that is not finite is malformed, is named, and leaves no files",
    arguments: nonFinite, ["lora_A", "lora_B"])
  func factors(value: Float, role: String) throws {
    var (wide, narrow) = (Self.lora, ToyFactors("a", 6, 4, seed: 587))
    if role == "lora_A" {
      (wide.a[200], narrow.a[5]) = (value, value)
    } else {
      (wide.b[11], narrow.b[11]) = (value, value)
    }
    let plain = try folder.applied([wide], as: "wide")
    let pooled = try folder.applied([narrow], as: "narrow", pooling: .sum)
    let source = try source()
    for applied in [plain, pooled] {
      let found = try folder.error([applied], into: source, to: "out.safetensors")
      check(found, applied)
    }
    for scheme in Recipe.schemeNames {
      let base = try folder.quantize(source, try .with(scheme: scheme), to: "\(scheme).pleat")
      for applied in [plain, pooled] {
        let found = try folder.error(
          [applied], into: base, to: "out.pleat", .with(requantizes: true, rounds: true))
        check(found, applied)
      }
    }
  }

  private func check(_ found: (error: ModelError?, isClean: Bool), _ applied: AppliedAdapter) {
    #expect(found.error?.kind == .malformed)
    #expect(found.error?.file == applied.file.adapter.path)
    #expect(found.error?.tensor?.contains("a.lora_A.weight") == true)
    #expect(found.error?.tensor?.contains("a.lora_B.weight") == true)
    #expect(found.isClean)
  }

  @Test(
    "a changed weight of the base model that is not finite is malformed",
    arguments: nonFinite, [ScalarType.f16, .bf16, .f32])
  func weights(value: Float, type: ScalarType) throws {
    var values = [Float](repeating: 0.5, count: 768)
    values[300] = value
    let bits: UInt32 = value.bitPattern
    let bytes =
      type == .bf16
      ? values.flatMap { Numbers.little(UInt16(($0.isFinite ? $0.bitPattern : bits) >> 16)) }
      : Numbers.bytes(values, type)
    let base = try Models.make(
      [Toy("a.weight", type, [6, 128], bytes: bytes)], in: folder.scratch, as: "source.safetensors")
    let found = try folder.error(
      [try folder.applied([Self.lora])], into: base, to: "out.safetensors")
    #expect(found.error?.kind == .malformed)
    #expect(found.error?.hint?.contains("base") == true)
    #expect(found.isClean)
  }

  @Test("a bias of the base model that is not finite is malformed", arguments: nonFinite)
  func biases(value: Float) throws {
    let bytes = Numbers.f16([0.01]) + Numbers.f16([value]) + [UInt8](repeating: 0x37, count: 16)
    let base = try Model.open(
      try folder.scratch.write(
        ToyFiles.gguf([(Toy("a.weight", .u8, [1, 32], bytes: bytes), typeNumber: 3)]),
        as: "base.gguf"))
    let applied = try folder.applied([ToyFactors("a", 1, 1, seed: 588)], pooling: .sum)
    for name in ["out.gguf", "out.pleat"] {
      let found = try folder.error([applied], into: base, to: name)
      #expect(found.error?.kind == .malformed)
      #expect(found.isClean)
    }
  }

  /// An adapter that adds `value` to the last weight of row 4, or to its last group.
  private func large(_ value: Float, width: Int) throws -> AppliedAdapter {
    var factors = ToyFactors("a", 6, width, seed: 589).withoutEffect
    factors.a = factors.a.map { _ in 0 }
    factors.a[width - 1] = 1
    factors.b[8] = value / 3
    return try folder.applied([factors], pooling: width < 128 ? .sum : nil)
  }

  @Test(
    "a merged weight that overflows its type is an error",
    arguments: [(ScalarType.f16, Float(1e5)), (.bf16, 3.4e38), (.f32, 3.4e38)])
  func largeWeights(type: ScalarType, value: Float) throws {
    var values = [Float](repeating: 0.5, count: 768)
    if type == .f32 { values[4 * 128 + 127] = 3e38 }
    let base = try Models.make(
      [Toy("a.weight", type, [6, 128], values)], in: folder.scratch, as: "source.safetensors")
    let applied = try large(value, width: 128)
    let found = try folder.error([applied], into: base, to: "out.safetensors")
    if type == .f32 {
      // Sums are computed in F32, so this one overflows before it is stored.
      check(found, applied)
    } else {
      #expect(found.error?.kind == .unsupported)
      #expect(found.error?.tensor == "a.weight")
      #expect(found.error?.found == "inf in row 4, column 127")
    }
    #expect(found.isClean)
  }

  @Test(
    "a bias that overflows its type after a fold is an error",
    arguments: ["minmax", "symmetric"],
    [(ScalarType.f16, Float(1e5)), (.bf16, 3.4e38), (.f32, 3.4e38)])
  func largeBiases(scheme: String, limits: (type: ScalarType, value: Float)) throws {
    var values = [Float](repeating: 0.5, count: 768)
    if limits.type == .f32 { for column in 96..<128 { values[4 * 128 + column] = 3e38 } }
    let source = try Models.make(
      [Toy("a.weight", .f32, [6, 128], values)], in: folder.scratch, as: "source.safetensors")
    let base = try folder.quantize(
      source, try .with(scheme: scheme, parameters: limits.type), to: "base.pleat")
    let found = try folder.error([try large(limits.value, width: 4)], into: base, to: "out.pleat")
    #expect(found.error?.kind == .unsupported)
    #expect(found.error?.tensor == "a.weight")
    #expect(found.error?.found == "inf in row 4, column 3")
    #expect(found.isClean)
  }
}
