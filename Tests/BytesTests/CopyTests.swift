import Bytes
import Dispatch
import Kernels
import SystemPackage
import TensorModel
import TestSupport
import Testing

/// Copies from file to file.
@Suite struct CopyTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func source(_ bytes: [UInt8]) throws -> InputFile {
    try InputFile(FilePath(scratch.write(bytes, as: "source")))
  }

  private func target() throws(ModelError) -> OutputFile {
    try OutputFile(creating: FilePath(scratch.path("target")))
  }

  @Test(
    "a copy changes exactly its target range (seed 931)",
    arguments: [
      (0..<0, 0), (5..<5, 3), (0..<1, 0), (0..<1000, 0), (999..<1000, 7), (1..<998, 4097),
      (511..<513, 1), (4095..<8193, 3), (0..<1_300_003, 0), (1..<1_300_003, 5),
      (1_048_575..<1_100_007, 1_048_577), (1_300_003..<1_300_003, 11),
    ])
  func ranges(range: Range<Int>, offset: Int) throws {
    var random = Seeded(931)
    let bytes = random.bytes(1_300_003)
    let file = try source(bytes)
    let output = try target()
    let around = [UInt8](repeating: 0xA5, count: offset + range.count + 9)
    try output.write(around, at: 0)
    try output.copy(range, of: file, to: offset)
    let found = try scratch.bytes(of: "target")
    let isSame =
      found == Array(around[..<offset]) + bytes[range] + Array(around[(offset + range.count)...])
    #expect(isSame)
  }

  @Test("copying an empty range of an empty file writes nothing") func empty() throws {
    let output = try target()
    try output.copy(0..<0, of: try source([]), to: 0)
    try output.copy(0..<0, of: try source([]), to: 100)
    #expect(try scratch.bytes(of: "target") == [])
  }

  @Test("a copy beyond the reserved size lengthens the file") func growing() throws {
    let output = try target()
    try output.reserve(2)
    try output.copy(1..<4, of: try source([1, 2, 3, 4]), to: 5)
    #expect(try scratch.bytes(of: "target") == [0, 0, 0, 0, 0, 2, 3, 4])
  }

  @Test(
    "a range beyond the end of the source is an io error",
    arguments: [0..<4, 3..<4, 2..<9, 0..<3_000_000, 50..<60])
  func beyond(range: Range<Int>) throws {
    let file = try source([1, 2, 3])
    let output = try target()
    let error = Laws.error { () throws(ModelError) in try output.copy(range, of: file, to: 0) }
    #expect(error?.kind == .io)
    #expect(error?.file == scratch.path("source"))
  }

  @Test("a source that became shorter is an error with its new end (seed 932)")
  func shortened() throws {
    var random = Seeded(932)
    let bytes = random.bytes(2_000_000)
    let damaged = try DamagedFile(bytes, as: "source", in: scratch)
    let file = try InputFile(FilePath(damaged.path))
    try damaged.truncate(to: 1_500_000)
    let output = try target()
    let error = Laws.error { () throws(ModelError) in
      try output.copy(10..<2_000_000, of: file, to: 0)
    }
    #expect(error?.kind == .io)
    #expect(error?.offset == 1_500_000)
  }

  @Test("several threads can copy into one file (seed 933)") func concurrent() throws {
    var random = Seeded(933)
    let bytes = random.bytes(3_000_001)
    let file = try source(bytes)
    let output = try target()
    let pieces = Every.pieces(of: bytes.count, 70_001)
    DispatchQueue.concurrentPerform(iterations: pieces.count) { index in
      let piece = pieces[(index * 37) % pieces.count]
      try? output.copy(piece, of: file, to: piece.lowerBound)
    }
    let isSame = try scratch.bytes(of: "target") == bytes
    #expect(isSame)
  }

  @Test("the checksum of a source covers the whole file, even after copies (seed 934)")
  func checksum() throws {
    var random = Seeded(934)
    let bytes = random.bytes(1_300_000)
    let file = try source(bytes)
    file.startChecksum()
    let output = try target()
    _ = try file.bytes(at: 5, count: 100)
    try output.copy(50..<1_200_000, of: file, to: 3)
    #expect(try file.checksum() == CRC32C(of: bytes.span))
  }
}
