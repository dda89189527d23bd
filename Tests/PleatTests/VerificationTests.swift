import Pleat
import TestSupport
import Testing

@Suite struct VerificationTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let tensors = [
    Toy("a.weight", .f16, [40, 64], seed: 1), Toy("b.weight", .bf16, [3, 32], seed: 2),
    Toy("c.weight", .f32, [2, 5, 64], seed: 3), Toy("norm.weight", .f32, [9], seed: 4),
    Toy("ids", .i32, [3], bytes: Array(0..<12)), Toy("empty", .f16, [0, 4], []),
  ]

  private func source() throws -> Model { try Models.make(Self.tensors, in: scratch) }

  private func quantized(
    _ recipe: Recipe, compresses: Bool = false, of source: Model? = nil
  ) throws -> Model {
    let path = scratch.path("out-\(try scratch.names().count).pleat")
    let plan = try Plan.quantizing(
      try source ?? self.source(), recipe,
      to: Destination(path: path, format: .pleat, compresses: compresses))
    try Run(plan)()
    return try Model.open(path)
  }

  @Test("a model equals itself") func itself() throws {
    let model = try source()
    let found = try Verification(of: model, against: model, tolerance: 0)
    #expect(found.holds)
    #expect(found.checksumCount == 0)
    #expect(found.comparisons?.count == Self.tensors.count)
    #expect(found.comparisons?.allSatisfy { $0.relativeError == 0 && $0.largestError == 0 } == true)
    #expect(found.comparisons?.allSatisfy { $0.decibels == .infinity } == true)
  }

  @Test("comparison errors match the reference", arguments: Grouping.supportedBits)
  func errors(bits: Int) throws {
    for scheme in Recipe.schemeNames(bits: bits) {
      let source = try source()
      let model = try quantized(
        try .with(bits: bits, scheme: scheme), compresses: bits == 4, of: source)
      let (values, reference) = (
        try model.floats(in: scratch), try source.floats(in: scratch)
      )
      let comparisons = try #require(try Verification(of: model, against: source).comparisons)
      #expect(comparisons.count == Self.tensors.count)
      for comparison in comparisons {
        guard let left = values[comparison.name], let right = reference[comparison.name] else {
          #expect(comparison.relativeError == 0)
          continue
        }
        let expected = PlainReference.error(of: left, from: right)
        #expect(areClose(comparison.relativeError, expected.relative), "\(comparison.name)")
        #expect(areClose(comparison.largestError, expected.largest, 1e-6), "\(comparison.name)")
      }
      let errors = comparisons.map(\.relativeError)
      #expect(errors == errors.sorted(by: >))
    }
  }

  @Test("checksums cover every part, the preamble and the header") func checksums() throws {
    for compresses in [false, true] {
      let model = try quantized(Recipe(), compresses: compresses)
      let found = try Verification(of: model)
      #expect(found.holds)
      #expect(found.comparisons == nil)
      // Three weights of three parts, three other tensors, metadata, preamble and header.
      #expect(found.checksumCount == 3 * 3 + 3 + 1 + 2)
    }
  }

  @Test("the tolerance applies to each tensor") func tolerance() throws {
    let source = try source()
    let model = try quantized(Recipe(), of: source)
    let comparisons = try #require(try Verification(of: model, against: source).comparisons)
    let worst = comparisons[0].relativeError
    #expect(worst > 0)
    #expect(try Verification(of: model, against: source, tolerance: worst).holds)
    let found = try Verification(of: model, against: source, tolerance: worst * 0.999)
    #expect(!found.isFaithful && !found.holds && found.faults.isEmpty)
    #expect(try Verification(of: model, against: source, tolerance: nil).holds)
  }

  @Test("missing and extra tensors, and other shapes, are mismatches") func mismatches() throws {
    let source = try source()
    let other = try Models.make(
      [
        Toy("a.weight", .f16, [64, 40], seed: 1), Toy("extra", .f16, [2], [1, 2]),
        Self.tensors[2], Toy("ids", .i32, [3], bytes: Array(1..<13)),
        Toy("norm.weight", .u8, [9], bytes: Array(0..<9)),
      ], in: scratch, as: "other.safetensors")
    let found = try Verification(of: other, against: source)
    #expect(!found.holds)
    #expect(
      found.mismatches.compactMap(\.tensor).sorted() == [
        "a.weight", "b.weight", "empty", "extra", "ids", "norm.weight",
      ])
    #expect(found.mismatches.allSatisfy { $0.kind == .mismatch })
    #expect(found.comparisons?.map(\.name) == ["c.weight"])
  }

  @Test("names are compared by their bytes") func exactNames() throws {
    let left = try Models.make(
      [Toy("\u{e9}", .f32, [1], [1]), Toy("e\u{301}", .f32, [1], [2])], in: scratch)
    let right = try Models.make(
      [Toy("e\u{301}", .f32, [1], [2]), Toy("\u{e9}", .f32, [1], [1])], in: scratch,
      as: "other.safetensors")
    #expect(try Verification(of: left, against: right, tolerance: 0).holds)
  }

  @Test("a comparison with weights that are not finite fails") func nonFinite() throws {
    let good = try Models.make([Toy("a", .f32, [2], [1, 2])], in: scratch)
    for value in [Float.nan, .infinity] {
      let bad = try Models.make(
        [Toy("a", .f32, [2], [1, value])], in: scratch, as: "bad.safetensors")
      #expect(!(try Verification(of: bad, against: good).holds))
      #expect(!(try Verification(of: good, against: bad).holds))
    }
  }

  @Test("the error is infinite if the reference is zero and the tensor is not")
  func zeroReference() throws {
    let zeros = try Models.make([Toy("a", .f32, [2], [0, 0])], in: scratch)
    let other = try Models.make([Toy("a", .f32, [2], [0, 1])], in: scratch, as: "b.safetensors")
    let found = try Verification(of: other, against: zeros)
    #expect(found.comparisons?[0].relativeError == .infinity)
    #expect(!found.holds)
    #expect(try Verification(of: zeros, against: zeros, tolerance: 0).holds)
  }

  @Test("damage is a fault, and then no tensors are compared") func damage() throws {
    let model = try quantized(Recipe())
    let bytes = try Files.bytes(of: model.path)
    let file = try DamagedFile(bytes, as: "damaged.pleat", in: scratch)
    try file.withFlip(of: 1, at: 64) {
      let found = try Verification(of: try Model.open(file.path), against: try source())
      #expect(!found.holds)
      #expect(found.faults.count == 1)
      #expect(found.faults[0].kind == .malformed)
      #expect(found.comparisons == nil)
    }
  }

  @Test("verification can be stopped") func stopping() throws {
    let model = try quantized(Recipe())
    let error = Laws.error { () throws(ModelError) in
      try Verification(of: model) { (_) throws(ModelError) in
        throw ModelError(.interrupted, "enough")
      }
    }
    #expect(error?.kind == .interrupted)
  }

  @Test("the JSON report states the findings") func report() throws {
    let source = try source()
    let model = try quantized(Recipe(), of: source)
    let found = try Verification(of: model, against: source, tolerance: 0.01)
    let json = found.json(of: model)
    #expect(json["schema"] == "pleat.verify.1")
    #expect(json["holds"]?.bool == false)
    #expect(json["tolerance"] == .number(0.01))
    #expect(json["tensors"]?.array?.count == Self.tensors.count)
    #expect(json["faults"]?.array == [])
  }
}
