import Bytes
import Dispatch
import Kernels
import SystemPackage
import TensorModel
import TestSupport
import Testing

/// Files that are large enough to be dropped from the page cache.
@Suite struct LargeOutputTests {
  let scratch: Scratch
  private static let byteCount = 1 << 30

  init() throws { scratch = try Scratch() }

  private func output(remembers: Bool = false) throws(ModelError) -> OutputFile {
    try OutputFile(
      creating: FilePath(scratch.path("large")), byteCount: Self.byteCount,
      remembers: remembers)
  }

  /// Pieces of `count` bytes, of lengths that are no multiples of a page; the first one is large.
  private static func pieces(of count: Int, _ random: inout Seeded) -> [Range<Int>] {
    var pieces = [0..<min(count, 2_600_000)]
    while let end = pieces.last?.upperBound, end < count {
      let length = 1 + random.below([20, 5000, 700_000, 1_300_000][random.below(4)])
      pieces.append(end..<min(count, end + length))
    }
    return pieces
  }

  @Test(
    "pieces written in any order are at their offsets (seed 941)",
    arguments: [0, 1, 4095, 4096, 10_007])
  func pieces(start: Int) throws {
    var random = Seeded(941 + UInt64(start))
    let bytes = random.bytes(8_000_011)
    let pieces = Self.pieces(of: bytes.count, &random).shuffled(using: &random)
    let output = try output()
    DispatchQueue.concurrentPerform(iterations: pieces.count) { index in
      try? output.write(bytes.span.extracting(pieces[index]), at: start + pieces[index].lowerBound)
    }
    let expected = [UInt8](repeating: 0, count: start) + bytes
    let isSame = try scratch.bytes(of: "large") == expected
    #expect(isSame)
    try output.synchronize()
    let isStillSame = try scratch.bytes(of: "large") == expected
    #expect(isStillSame)
  }

  @Test("bytes dropped from the page cache are on disk, and their checksum is known (seed 944)")
  func forgotten() throws {
    var random = Seeded(944)
    let piece = random.bytes(1_000_003)
    let pieces = (0..<48).map { Array(piece[$0...] + piece[..<$0]) }
    try scratch.write(pieces[7] + pieces[20], as: "other")
    let other = try InputFile(FilePath(scratch.path("other")))
    let output = try output(remembers: true)
    DispatchQueue.concurrentPerform(iterations: pieces.count) { index in
      let offset = index * piece.count
      switch index {
      case 7: try? output.copy(0..<piece.count, of: other, to: offset)
      case 20: try? output.copy(piece.count..<2 * piece.count, of: other, to: offset)
      default: try? output.write(pieces[index], at: offset)
      }
    }
    try output.synchronize()
    var expected: [UInt8] = []
    for piece in pieces { expected += piece }
    #expect(try output.written().checksum() == CRC32C(of: expected.span))
    let isSame = try scratch.bytes(of: "large") == expected
    #expect(isSame)
  }

  @Test("stripes of several threads are at their places, and so are their checksums (seed 945)")
  func stripes() throws {
    var random = Seeded(945)
    let (start, count, distance) = (10_007, 40, 800_003)
    let bytes = random.bytes(count * distance)
    var ends = (0..<50).map { _ in random.below(distance) }
    ends.append(distance)
    ends.sort()
    let pieces = zip([0] + ends, ends).map { $0..<$1 }.shuffled(using: &random)
    let output = try output(remembers: true)
    DispatchQueue.concurrentPerform(iterations: pieces.count) { index in
      let stripes = (0..<count).flatMap { stripe in
        let first = stripe * distance
        return bytes[first + pieces[index].lowerBound..<first + pieces[index].upperBound]
      }
      let offset = start + pieces[index].lowerBound
      try? output.write(
        stripes.span, inStripes: count, distance: distance, at: offset)
    }
    try output.synchronize()
    let expected = [UInt8](repeating: 0, count: start) + bytes
    #expect(try output.written().checksum() == CRC32C(of: expected.span))
    let isSame = try scratch.bytes(of: "large") == expected
    #expect(isSame)
  }

  @Test("a file that is extended has zeros at its end (seed 946)") func extending() throws {
    var random = Seeded(946)
    let bytes = random.bytes(5000)
    let output = try output()
    try output.write(bytes, at: 0)
    try output.extend(to: 9001)
    let isSame = try scratch.bytes(of: "large") == bytes + [UInt8](repeating: 0, count: 4001)
    #expect(isSame)
  }

  @Test("a later write replaces an earlier one (seed 942)") func overwriting() throws {
    var random = Seeded(942)
    let (first, second) = (random.bytes(3_000_000), random.bytes(1_200_000))
    let output = try output()
    // The end is written first.
    try output.write([7], at: first.count)
    try output.write(first, at: 0)
    for start in [1, 4096, 1_048_575, first.count - second.count] {
      try output.write(second, at: start)
      let expected = Array(first[..<start]) + second
      let found = try scratch.bytes(of: "large")
      let isSame = Array(found[..<expected.count]) == expected
      #expect(isSame, "from \(start)")
      #expect(found.count == first.count + 1 && found.last == 7)
      try output.write(first, at: 0)
    }
  }

  @Test("the checksum of written pieces is that of the file, gaps included (seed 943)")
  func checksum() throws {
    var random = Seeded(943)
    let bytes = random.bytes(6_000_000)
    let pieces = Self.pieces(of: bytes.count, &random)
    let output = try output(remembers: true)
    try output.write([0], at: bytes.count - 1)
    var expected = bytes
    for (index, piece) in pieces.enumerated() {
      if index % 5 == 3 {
        for offset in piece { expected[offset] = 0 }
      } else {
        try output.write(bytes.span.extracting(piece), at: piece.lowerBound)
      }
    }
    let written = try output.written()
    #expect(written.byteCount == bytes.count)
    #expect(try written.checksum() == CRC32C(of: expected.span))
    let isSame = try scratch.bytes(of: "large") == expected
    #expect(isSame)
  }
}
