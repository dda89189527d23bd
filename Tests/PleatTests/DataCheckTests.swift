import Pleat
import TestSupport
import Testing

/// What `inspect --check` reads.
@Suite struct DataCheckTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  @Test("a whole model holds, with the number of its tensors, numbers and checksums")
  func whole() throws {
    let source = try DataCheck(of: try Models.tinylm())
    #expect(source.holds && source.checksumCount == 0 && source.undecoded.isEmpty)
    #expect(source.tensorCount == 57)
    let pleat = try DataCheck(of: try Model.open(Fixtures.path("golden/pleat/example.pleat")))
    #expect(pleat.holds && pleat.checksumCount == 7 && pleat.elementCount == 68)
  }

  @Test("numbers that are not finite are counted, with the position of the first (seed 31)")
  func nonFinite() throws {
    var values = [Float](repeating: 1, count: 3 * 40)
    values[2 * 40 + 7] = .nan
    values[2 * 40 + 8] = -.infinity
    values[2 * 40 + 9] = .infinity
    let check = try DataCheck(
      of: try Models.make(
        [Toy("good.weight", .f16, [3, 40], seed: 31), Toy("bad.weight", .bf16, [3, 40], values)],
        in: scratch))
    #expect(!check.holds && check.faults.isEmpty && check.tensorCount == 2)
    #expect(check.nonFinite.map(\.name) == ["bad.weight"])
    let found = try #require(check.nonFinite.first)
    #expect((found.nanCount, found.infinityCount) == (1, 2))
    #expect((found.row, found.column) == (2, 7))
  }

  @Test("a double that overflows a float is finite, an infinite one is not") func doubles() throws {
    let numbers = [1.0, 1e300, -1e300, .infinity]
    let bytes = numbers.flatMap { Numbers.little($0.bitPattern) }
    let check = try DataCheck(
      of: try Models.make([Toy("a", .f64, [2, 2], bytes: bytes)], in: scratch))
    #expect(check.nonFinite.map(\.infinityCount) == [1])
    #expect(check.nonFinite.first?.row == 1 && check.nonFinite.first?.column == 1)
  }

  @Test("what Pleat does not decode is named") func undecoded() throws {
    let check = try DataCheck(
      of: try Models.make([Toy("ids", .i32, [3], bytes: Array(1..<13))], in: scratch))
    #expect(check.holds && check.undecoded == ["ids"] && check.tensorCount == 0)
  }

  @Test("a damaged part of a pleat file is a fault, raw or compressed", arguments: [false, true])
  func damage(compresses: Bool) throws {
    let source = try Models.make([Toy("a.weight", .f16, [64, 256], seed: 32)], in: scratch)
    let path = scratch.path("m.pleat")
    try Run(
      try Plan.quantizing(
        source, Recipe(), to: Destination(path: path, format: .pleat, compresses: compresses)))()
    #expect(try DataCheck(of: try Model.open(path)).holds)
    var bytes = try scratch.bytes(of: "m.pleat")
    bytes[bytes.count / 2] ^= 4
    try scratch.write(bytes, as: "m.pleat")
    let check = try DataCheck(of: try Model.open(path))
    #expect(!check.holds && check.faults.map(\.kind) == [.malformed])
  }
}
