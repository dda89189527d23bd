import Bytes
import Kernels
import SystemPackage
import TensorModel
import TestSupport
import Testing

@Suite struct UncachedFileTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  @Test("ranges of any length have the checksum of their bytes (seed 19)") func ranges() throws {
    var random = Seeded(19)
    // Neither the file nor the ranges end at a block of the disk.
    let bytes = random.bytes(3_000_001)
    let path = FilePath(try scratch.write(bytes, as: "f"))
    let file = try #require(try UncachedFile(existing: path))
    #expect(file.byteCount == bytes.count)
    let buffer = UncachedFile.Buffer()
    var ranges = [0..<0, 0..<1, 0..<bytes.count, bytes.count - 70_000..<bytes.count]
    for _ in 0..<40 {
      let start = random.below(bytes.count)
      let limit = [100, 70_000, bytes.count][random.below(3)]
      ranges.append(start..<start + random.below(min(limit, bytes.count - start) + 1))
    }
    for range in ranges {
      var checksum = CRC32C()
      try file.update(&checksum, with: range, using: buffer)
      #expect(checksum == CRC32C(of: Array(bytes[range]).span), "\(range)")
    }
  }

  @Test("a file that became shorter is an io error, an absent one is none") func shorter() throws {
    let path = FilePath(try scratch.write([UInt8](repeating: 7, count: 300_000), as: "f"))
    let file = try #require(try UncachedFile(existing: path))
    _ = try scratch.write([UInt8](repeating: 7, count: 100_000), as: "f")
    for range in [0..<300_000, 150_000..<150_010, 90_000..<180_000] {
      let error = Laws.error { () throws(ModelError) in
        var checksum = CRC32C()
        try file.update(&checksum, with: range, using: UncachedFile.Buffer())
      }
      #expect(error?.kind == .io && error?.file == path.string, "\(range)")
    }
    #expect(try UncachedFile(existing: FilePath(scratch.path("absent"))) == nil)
  }
}
