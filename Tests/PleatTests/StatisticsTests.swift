import Pleat
import TestSupport
import Testing

@Suite struct TensorStatisticsTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func expectSame(
    _ found: TensorStatistics?, _ values: [Float], _ what: Comment
  ) throws {
    let found = try #require(found)
    let expected = PlainReference.Statistics(values)
    #expect(found.minimum == expected.minimum, what)
    #expect(found.maximum == expected.maximum, what)
    #expect((found.mean - expected.mean).magnitude <= 1e-9 * (1 + expected.deviation), what)
    #expect(
      (found.standardDeviation - expected.deviation).magnitude
        <= 1e-6 * (1e-3 + expected.deviation + expected.mean.magnitude), what)
    #expect(found.nanCount == expected.nanCount, what)
    #expect(found.infinityCount == expected.infinityCount, what)
    #expect(found.histogram == expected.histogram, what)
  }

  static let contents: [(String, [Float])] = [
    ("nothing", []), ("one", [2.5]), ("zeros", [0, 0, 0]), ("constant", [-3, -3, -3, -3]),
    ("two", [-1, 1]), ("no finite number", [.nan, .infinity, -.infinity]),
    ("some not finite", [1, .nan, -2, .infinity, 3, -.infinity, .nan, 4]),
    ("ends of intervals", (0...16).map { Float($0) }),
    ("large", [-3e38, 3e38, 0]), ("tiny", [.leastNonzeroMagnitude, 0, 3 * .leastNonzeroMagnitude]),
  ]

  @Test("statistics of special values match the reference", arguments: contents)
  func edgeCases(name: String, values: [Float]) throws {
    let model = try Models.make([Toy("a", .f32, [values.count], values)], in: scratch)
    try expectSame(try TensorStatistics(of: 0, in: model), values, "\(name)")
  }

  @Test(
    "statistics of many weights match the reference (seed 61)",
    arguments: [
      ScalarType.f16, .bf16, .f32,
    ])
  func manyWeights(type: ScalarType) throws {
    var random = Seeded(61)
    let values = Numbers.rounded(random.weights(700_001), to: type)
    let model = try Models.make([Toy("a", type, [values.count], values)], in: scratch)
    try expectSame(try TensorStatistics(of: 0, in: model), values, "\(type)")
  }

  @Test("statistics of groups and blocks are those of their decoded weights") func groups() throws {
    let source = try Models.make([Toy("a.weight", .f16, [60, 64], seed: 62)], in: scratch)
    let path = scratch.path("a.pleat")
    try Run(
      try Plan.quantizing(
        source, try .with(bits: 3),
        to: Destination(path: path, format: .pleat, compresses: true)))()
    let model = try Model.open(path)
    let values = try #require(try model.floats(in: scratch)["a.weight"])
    try expectSame(try TensorStatistics(of: 0, in: model), values, "groups")
    let gguf = try Model.open(Fixtures.path("golden/gguf/types.gguf"))
    for (name, values) in try gguf.floats(in: scratch) {
      let index = try #require(gguf.index(of: name))
      try expectSame(try TensorStatistics(of: index, in: gguf), values, "\(name)")
    }
  }

  @Test("a tensor that is not decoded has no statistics") func others() throws {
    let model = try Models.make(
      [Toy("a", .i32, [2], bytes: [UInt8](repeating: 0, count: 8))], in: scratch)
    #expect(try TensorStatistics(of: 0, in: model) == nil)
  }
}
