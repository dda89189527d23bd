import Formats
import Pleat
import TestSupport
import Testing

/// Results do not depend on the partition of a tensor into blocks.
@Suite struct BlockPartitionTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// Shapes of the same weights: few long rows, many short rows, and a stack.
  private static let shapes = [
    [2, 614_400], [3, 409_600], [200, 6144], [4800, 256], [2, 6, 102_400],
  ]

  private static let bytes: [UInt8] = {
    var random = Seeded(71)
    return Numbers.f16((0..<1_228_800).map { _ in Float(random.below(4001) - 2000) / 1024 })
  }()

  private func quantized(_ shape: [Int], _ recipe: Recipe) throws -> Model {
    let name = "m-\(try scratch.names().count)"
    let source = try Models.make(
      [Toy("a.weight", .f16, shape, bytes: Self.bytes)], in: scratch, as: name + ".safetensors")
    let plan = try Plan.quantizing(
      source, recipe, to: Destination(path: scratch.path(name + ".pleat"), format: .pleat))
    try Run(plan, workerCount: 2)()
    return try Model.open(scratch.path(name + ".pleat"))
  }

  @Test("the quantized weights do not depend on the length of the rows", arguments: [2, 3, 4, 8])
  func rows(bits: Int) throws {
    var first: [String: [Float]] = [:]
    for shape in Self.shapes {
      let model = try quantized(shape, try .with(bits: bits))
      let values = try model.floats(in: scratch)
      if first.isEmpty { first = values }
      let isSame = values == first
      #expect(isSame, "\(shape)")
    }
  }

  @Test(
    "words that run across rows hold the same weights in several blocks",
    arguments: [Format.gptq, .awq])
  func stripes(format: Format) throws {
    let bytes = Array(repeatElement(Self.bytes, count: 16).joined())
    let source = try Model.open(
      try scratch.checkpoint(
        [Toy("a.weight", .f16, [19_200, 1024], bytes: bytes)],
        config: "{\"model_type\":\"llama\"}", as: "source"))
    let recipe = try Recipe.with(group: .columns(128), offset: .zeroPoint, scheme: "zeropoint")
    let plan = try Plan.quantizing(
      source, recipe, to: Destination(path: scratch.path("striped"), format: format))
    #expect(plan.jobs[0].blockCount > 1 && plan.jobs[0].reads(of: 0).count > 1)
    try Run(plan, workerCount: 2)()
    let rows = try Plan.quantizing(
      source, recipe, to: Destination(path: scratch.path("rows.pleat"), format: .pleat))
    try Run(rows)()
    let (striped, plain) = (
      try Model.open(scratch.path("striped")), try Model.open(scratch.path("rows.pleat"))
    )
    #expect(try Verification(of: striped, against: plain, tolerance: 0).holds)
  }

  @Test("a comparison does not depend on the partition of the two models")
  func comparisons() throws {
    for shape in [[2, 614_400], [1_228_800], [4800, 256]] {
      let source = try Models.make(
        [Toy("a.weight", .f16, shape, bytes: Self.bytes)], in: scratch, as: "s.safetensors")
      let exact = Numbers.floats(f16: Self.bytes)
      let rounded = Numbers.rounded(exact, to: .bf16)
      let expected = PlainReference.error(of: rounded, from: exact)
      let plan = try Plan.converting(
        source, decodingTo: .bf16,
        to: Destination(path: scratch.path("r.safetensors"), format: .safetensors))
      try Run(plan, replacing: true)()
      let found = try Verification(
        of: try Model.open(scratch.path("r.safetensors")), against: source)
      let comparison = try #require(found.comparisons?.first)
      #expect(areClose(comparison.relativeError, expected.relative), "\(shape)")
      #expect(areClose(comparison.largestError, expected.largest, 1e-6), "\(shape)")
    }
  }

  @Test("a compressed source is quantized to the same weights as a raw one")
  func compressed() throws {
    let source = try Models.make(
      [Toy("a.weight", .f16, [4800, 256], bytes: Self.bytes)], in: scratch)
    let path = scratch.path("z.pleat")
    try Run(
      try Plan.converting(
        source, to: Destination(path: path, format: .pleat, compresses: true)))()
    let raw = try Plan.quantizing(
      source, Recipe(), to: Destination(path: scratch.path("1.pleat"), format: .pleat))
    let packed = try Plan.quantizing(
      try Model.open(path), Recipe(),
      to: Destination(path: scratch.path("2.pleat"), format: .pleat))
    try Run(raw)()
    try Run(packed)()
    let (left, right) = (
      try Model.open(scratch.path("1.pleat")), try Model.open(scratch.path("2.pleat"))
    )
    #expect(try Verification(of: left, against: right, tolerance: 0).holds)
  }
}
