import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Compressed pleat files, whose parts are zstd frames.
@Suite struct CompressionTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// Parts of several blocks that compress, parts that do not, and small parts.
  private func source() throws -> String {
    var random = Seeded(21)
    let narrow = (0..<1_100_000).map { Float($0 % 977) / 1024 }
    let tensors = [
      Toy("narrow.weight", .f16, [1100, 1000], narrow),
      Toy("noise", .u8, [1_500_001], bytes: random.bytes(1_500_001)),
      Toy("zeros.weight", .f32, [300_000], bytes: [UInt8](repeating: 0, count: 1_200_000)),
      Toy("tiny", .u8, [1], bytes: [7]),
      Toy("odd", .f16, [3], [1, 2, 3]),
    ]
    try scratch.write("{" + String(repeating: "\n", count: 3000) + "}", as: "model/config.json")
    try scratch.write(ToyFiles.safetensors(tensors), as: "model/model.safetensors")
    return scratch.path("model")
  }

  @Test("the bytes do not depend on the number of workers, and the parts equal raw ones")
  func workers() throws {
    let source = try source()
    let raw = try Model.open(try Rewriting.convert(source, to: scratch.path("raw.pleat"), .pleat))
    var first: [UInt8] = []
    for count in [1, 2, 3, 7] {
      let path = try Rewriting.convert(
        source, to: scratch.path("\(count).pleat"), .pleat, compresses: true, workerCount: count)
      let bytes = try Files.bytes(of: path)
      if first.isEmpty { first = bytes }
      let isSame = bytes == first
      #expect(isSame, "\(count) workers")
    }
    let model = try Model.open(scratch.path("1.pleat"))
    #expect(model.byteCount < raw.byteCount / 2)
    #expect(Laws.areEqual(model.catalog.tensors, raw.catalog.tensors))
    for index in raw.catalog.tensors.indices {
      let isSame = try model.partBytes(of: index) == raw.partBytes(of: index)
      #expect(isSame, "\(raw.catalog.tensors[index].name)")
    }
    #expect(try model.companion(named: "config.json") == raw.companion(named: "config.json"))
  }

  @Test("any range of a compressed part reads like the raw part (seed 22)")
  func randomAccess() throws {
    let source = try source()
    let raw = try Model.open(try Rewriting.convert(source, to: scratch.path("raw.pleat"), .pleat))
    let model = try Model.open(
      try Rewriting.convert(source, to: scratch.path("z.pleat"), .pleat, compresses: true))
    var random = Seeded(22)
    for index in raw.reader.stored.indices {
      let size = raw.reader.stored[index].byteCount
      let block = 1 << 20
      var ranges = [0..<size, 0..<0, size..<size, size - 1..<size]
      if size > block + 3 { ranges += [block - 1..<block + 1, block..<block + 3] }
      for _ in 0..<10 {
        let start = random.below(size)
        ranges.append(start..<start + random.below(min(size - start, 5000) + 1))
      }
      for range in ranges {
        let isSame = try model.storedBytes(index, range) == raw.storedBytes(index, range)
        #expect(isSame, "\(range) of part \(index)")
      }
    }
  }

  @Test("compressing a compressed file again gives the same parts as compressing a raw one")
  func again() throws {
    let first = try Rewriting.convert(
      try source(), to: scratch.path("1.pleat"), .pleat, compresses: true)
    let second = try Rewriting.convert(
      first, to: scratch.path("2.pleat"), .pleat, compresses: true)
    let raw = try Rewriting.convert(first, to: scratch.path("raw.pleat"), .pleat)
    let third = try Rewriting.convert(raw, to: scratch.path("3.pleat"), .pleat, compresses: true)
    let (left, right) = (try Model.open(second), try Model.open(third))
    for index in left.catalog.tensors.indices {
      let isSame = try left.partBytes(of: index) == right.partBytes(of: index)
      #expect(isSame)
    }
    #expect(try Verification(of: left).holds)
    #expect(try Verification(of: right).holds)
  }
}
