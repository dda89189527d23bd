import Formats
import Pleat
import TestSupport
import Testing

/// Folds into GGML blocks.
@Suite struct FoldGGUFTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  /// The GGML types with groups of 32 below 8 bits, with their type numbers.
  static let types: [(name: String, number: UInt32, bits: Int, hasBias: Bool)] = [
    ("Q4_0", 2, 4, false), ("Q4_1", 3, 4, true), ("Q5_0", 6, 5, false), ("Q5_1", 7, 5, true),
  ]

  /// The blocks of 5 rows of 96 columns, with ordinary scales and biases.
  private func blocks(_ type: (name: String, number: UInt32, bits: Int, hasBias: Bool)) -> [UInt8] {
    var random = Seeded(560)
    return (0..<15).flatMap { _ in
      let parameters = random.weights(type.hasBias ? 2 : 1, scale: 0.1)
      return Numbers.f16(parameters) + random.bytes(type.bits == 5 ? 20 : 16)
    }
  }

  private func base(_ type: (name: String, number: UInt32, bits: Int, hasBias: Bool)) throws
    -> Model
  {
    let tensors: [(Toy, typeNumber: UInt32)] = [
      (Toy("blk.0.ffn_up.weight", .u8, [5, 96], bytes: blocks(type)), type.number),
      (Toy("output_norm.weight", .f32, [96], seed: 561), 0),
    ]
    return try Model.open(try folder.scratch.write(ToyFiles.gguf(tensors), as: "base.gguf"))
  }

  private func applied(_ factors: ToyFactors, _ config: String = "") throws -> AppliedAdapter {
    try folder.applied([factors], [], config, pooling: .sum)
  }

  @Test(
    "a fold changes only biases, which are rounded once to F16 (seed 560)",
    arguments: types)
  func moves(type: (name: String, number: UInt32, bits: Int, hasBias: Bool)) throws {
    let base = try base(type)
    let factors = ToyFactors("blk.0.ffn_up", 5, 3, seed: 562)
    let result = try folder.fold([try applied(factors)], into: base, to: "out.gguf")
    let before = try #require(try StoredGroups(base, "blk.0.ffn_up.weight"))
    let after = try #require(try StoredGroups(result.model, "blk.0.ffn_up.weight"))
    #expect(before.grouping.offset == (type.hasBias ? .bias : .none))
    #expect(after.grouping.offset == .bias && after.grouping.bits == type.bits)
    #expect(after.codes == before.codes)
    #expect(after.scales == before.scales)
    for index in after.offsets.indices {
      let element = factors.element(index / 3, index % 3)
      let wanted = before.offsets[index] + 3 * element.value
      let limit =
        ScalarType.f16.halfStep(at: wanted) + 3 * element.size * 0x1p-21
        + (wanted.magnitude + before.offsets[index].magnitude) * 0x1p-24
      #expect((after.offsets[index] - wanted).magnitude <= limit)
    }
    #expect(try result.model.parts("output_norm.weight") == base.parts("output_norm.weight"))
    #expect(result.report.total.changedCodeCount == 0)
    #expect(result.report.total.codeCount == 480)
    let hasNote = result.plan.notes.contains {
      $0.contains("1 weight gets a bias for each group")
    }
    #expect(hasNote == !type.hasBias)
  }

  @Test(
    "an adapter without effect changes no byte of blocks with biases, and no weight of others",
    arguments: types)
  func identity(type: (name: String, number: UInt32, bits: Int, hasBias: Bool)) throws {
    let base = try base(type)
    let factors = ToyFactors("blk.0.ffn_up", 5, 3, seed: 562).withoutEffect
    let result = try folder.fold([try applied(factors)], into: base, to: "out.gguf")
    if type.hasBias {
      #expect(try result.model.allParts() == base.allParts())
    } else {
      let before = try #require(try StoredGroups(base, "blk.0.ffn_up.weight"))
      let after = try #require(try StoredGroups(result.model, "blk.0.ffn_up.weight"))
      for index in 0..<480 { #expect(after.weight(index) == before.weight(index)) }
    }
  }

  @Test(
    "a fold of gguf to a pleat file gives the same groups as one to gguf (seed 560)",
    arguments: types)
  func toPleat(type: (name: String, number: UInt32, bits: Int, hasBias: Bool)) throws {
    let base = try base(type)
    let applied = try applied(ToyFactors("blk.0.ffn_up", 5, 3, seed: 562))
    let blocks = try folder.fold([applied], into: base, to: "out.gguf")
    let packed = try folder.fold([applied], into: base, to: "out.pleat")
    let left = try #require(try StoredGroups(blocks.model, "blk.0.ffn_up.weight"))
    let right = try #require(try StoredGroups(packed.model, "blk.0.ffn_up.weight"))
    #expect(left.codes == right.codes)
    #expect(left.scales == right.scales && left.offsets == right.offsets)
    #expect(areClose(blocks.report.total.adapterError, packed.report.total.adapterError))
  }

  @Test(
    "narrow codes and wide groups of a pleat file fold into GGML blocks (seed 563)",
    arguments: [2, 3, 4],
    ["minmax", "symmetric"])
  func fromPleat(bits: Int, scheme: String) throws {
    let source = try Models.make(
      [Toy("blk.0.ffn_up.weight", .f32, [5, 128], seed: 563)], in: folder.scratch,
      metadata: [("general.architecture", "llama")], as: "source.safetensors")
    let base = try folder.quantize(
      source, try .with(bits: bits, group: .columns(64), scheme: scheme), to: "base.pleat")
    let factors = ToyFactors("blk.0.ffn_up", 5, 2, seed: 564)
    let result = try folder.fold([try applied(factors)], into: base, to: "out.gguf")
    let before = try #require(try StoredGroups(base, "blk.0.ffn_up.weight"))
    let after = try #require(try StoredGroups(result.model, "blk.0.ffn_up.weight"))
    #expect(after.codes == before.codes)
    for index in after.offsets.indices {
      #expect(after.scales[index] == before.scales[index / 2])
      let element = factors.element(index / 4, index % 4 / 2)
      let wanted = before.offsets[index / 2] + 3 * element.value
      let limit =
        ScalarType.f16.halfStep(at: wanted) + 3 * element.size * 0x1p-21
        + (wanted.magnitude + before.offsets[index / 2].magnitude) * 0x1p-24
      #expect((after.offsets[index] - wanted).magnitude <= limit)
    }
  }

  @Test("a fold into Q8_0 is refused in gguf, but not in a pleat file")
  func noOffset() throws {
    var random = Seeded(565)
    let bytes = (0..<15).flatMap { _ in Numbers.f16(random.weights(1)) + random.bytes(32) }
    let base = try Model.open(
      try folder.scratch.write(
        ToyFiles.gguf([(Toy("a.weight", .u8, [5, 96], bytes: bytes), typeNumber: 8)]),
        as: "base.gguf"))
    let applied = try applied(ToyFactors("a", 5, 3, seed: 566))
    let found = try folder.error([applied], into: base, to: "out.gguf")
    #expect(found.error?.kind == .unsupported)
    #expect(found.error?.found?.hasPrefix("a.weight: the format cannot store the offset") == true)
    #expect(found.isClean)
    let packed = try folder.fold([applied], into: base, to: "out.pleat")
    #expect(packed.report.total.changedCodeCount == 0)
    #expect(packed.model.catalog.tensors[0].encoding.description.contains("8-bit"))
  }

  @Test("folding LoRA into K-quants is refused, and the error counts all tensors")
  func otherLayouts() throws {
    let bytes = [UInt8](repeating: 0, count: 144)
    let base = try Model.open(
      try folder.scratch.write(
        ToyFiles.gguf(
          (0..<3).map { (Toy("m.\($0).weight", .u8, [1, 256], bytes: bytes), typeNumber: 12) }),
        as: "base.gguf"))
    let applied = try folder.applied((0..<3).map { ToyFactors("m.\($0)", 1, 256, seed: 567) })
    let found = try folder.error([applied], into: base, to: "out.gguf")
    #expect(found.error?.kind == .unsupported)
    let reason = "m.0.weight and 2 more: Pleat folds only QA-LoRA adapters into Q4_K"
    #expect(found.error?.found?.contains(reason) == true)
    #expect(found.isClean)
  }

  @Test(
    "a bias that does not fit F16 is an error, with any --bias-type",
    arguments: [nil, ScalarType.f32, .bf16])
  func overflow(type: ScalarType?) throws {
    let base = try base(Self.types[1])
    var factors = ToyFactors("blk.0.ffn_up", 5, 3, seed: 568).withoutEffect
    factors.b[2 * 2] = 1e6
    factors.a[1] = 1
    let found = try folder.error(
      [try applied(factors)], into: base, to: "out.gguf", .with(biasType: type))
    #expect(found.error?.kind == .unsupported)
    if let type {
      // GGML blocks store no other type, so the option is refused before the fold.
      #expect(
        found.error?.found
          == "blk.0.ffn_up.weight: scales and biases become F16, found \(type.name)")
    } else {
      #expect(found.error?.tensor == "blk.0.ffn_up.weight")
      #expect(found.error?.found?.contains("in row 2, column 0") == true)
    }
    #expect(found.isClean)
  }
}
