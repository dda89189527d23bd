import Bytes
import Dispatch
import Kernels
import SystemPackage
import TensorModel
import TestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

@Suite struct FileTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func path(_ name: String) -> FilePath { FilePath(scratch.path(name)) }

  @Test("a file can be read at any offset (seed 2)") func reading() throws {
    var random = Seeded(2)
    let bytes = random.bytes(200_000)
    let file = try InputFile(FilePath(scratch.write(bytes, as: "f")))
    #expect(file.byteCount == bytes.count)
    for _ in 0..<100 {
      let start = random.below(bytes.count)
      let count = random.below(bytes.count - start + 1)
      let isSame = try file.bytes(at: start, count: count) == Array(bytes[start..<start + count])
      #expect(isSame, "\(count) bytes from \(start)")
    }
    #expect(try file.bytes(at: bytes.count, count: 0) == [])
  }

  @Test("a read beyond the end is an io error") func beyond() throws {
    let file = try InputFile(FilePath(scratch.write([1, 2, 3], as: "f")))
    for (offset, count) in [(0, 4), (3, 1), (2, 2), (100, 1)] {
      let error = Laws.error { () throws(ModelError) in try file.bytes(at: offset, count: count) }
      #expect(error?.kind == .io)
      #expect(error?.file == scratch.path("f"))
    }
  }

  @Test("a file that may be absent is opened, absent, or an error") func existing() throws {
    let present = try InputFile(existing: FilePath(scratch.write([1, 2], as: "f")))
    #expect(present?.byteCount == 2)
    try scratch.makeFolder("folder")
    for name in ["absent", "folder/absent"] {
      let file = try InputFile(existing: path(name))
      #expect(file == nil)
    }
    for name in ["folder", "f/absent"] {
      let error = Laws.error { () throws(ModelError) in try InputFile(existing: path(name)) }
      #expect(error?.kind == .io)
    }
  }

  @Test("only regular files are opened") func kinds() throws {
    try scratch.makeFolder("folder")
    #expect(mkfifo(scratch.path("pipe"), 0o600) == 0)
    for path in ["absent", "folder", "folder/absent", "pipe"].map(path) + ["/dev/null"] {
      let error = Laws.error { () throws(ModelError) in try InputFile(path) }
      #expect(error?.kind == .io)
      #expect(error?.file == path.string)
    }
    try scratch.write([1], as: "f")
    #expect(try InputFile(FilePath(scratch.link("link", to: "f"))).byteCount == 1)
  }

  @Test("the checksum covers the whole file, however it was read (seed 3)", arguments: 0..<12)
  func checksums(round: Int) throws {
    var random = Seeded(3 + UInt64(round))
    let bytes = random.bytes([0, 1, 5000, 3_000_000][round % 4])
    let file = try InputFile(FilePath(scratch.write(bytes, as: "f")))
    let expected = CRC32C(of: bytes.span)
    #expect(try file.checksum() == expected)
    if random.below(2) == 0, !bytes.isEmpty { _ = try file.bytes(at: 0, count: 1) }
    file.startChecksum()
    for _ in 0..<random.below(40) {
      // Overlapping, repeated, contained, empty, and in any order.
      let start = random.below(bytes.count + 1)
      let count = random.below(min(bytes.count - start, 1 + random.below(bytes.count + 1)) + 1)
      _ = try file.bytes(at: start, count: count)
    }
    #expect(try file.checksum() == expected)
    #expect(try file.checksum() == expected)
  }

  @Test("reads from several threads give the same checksum") func concurrentChecksum() throws {
    var random = Seeded(4)
    let bytes = random.bytes(1_000_003)
    let file = try InputFile(FilePath(scratch.write(bytes, as: "f")))
    file.startChecksum()
    let pieces = Every.pieces(of: bytes.count, 9973)
    DispatchQueue.concurrentPerform(iterations: pieces.count) { index in
      let piece = pieces[(index * 37) % pieces.count]
      _ = try? file.bytes(at: piece.lowerBound, count: piece.count)
    }
    #expect(try file.checksum() == CRC32C(of: bytes.span))
  }

  @Test("a file can be written from any thread at any offset (seed 6)") func writing() throws {
    var random = Seeded(6)
    let bytes = random.bytes(500_000)
    let file = try OutputFile(creating: path("out"))
    try file.reserve(bytes.count)
    let pieces = Every.pieces(of: bytes.count, 4099)
    DispatchQueue.concurrentPerform(iterations: pieces.count) { index in
      let piece = pieces[(index * 53) % pieces.count]
      try? file.write(Array(bytes[piece]), at: piece.lowerBound)
    }
    try file.synchronize()
    let isSame = try scratch.bytes(of: "out") == bytes
    #expect(isSame)
  }

  @Test("creating an existing file, or a file in an absent folder, fails") func creating() throws {
    try scratch.write([1, 2], as: "there")
    for name in ["there", "absent/out"] {
      let error = Laws.error { () throws(ModelError) in try OutputFile(creating: path(name)) }
      #expect(error?.kind == .io)
    }
    #expect(try scratch.bytes(of: "there") == [1, 2])
  }

  @Test("writes beyond the reserved size lengthen the file") func reserving() throws {
    let file = try OutputFile(creating: path("out"))
    try file.reserve(0)
    try file.reserve(4)
    try file.write([9], at: 6)
    #expect(try scratch.bytes(of: "out") == [0, 0, 0, 0, 0, 0, 9])
  }

  @Test("two paths are the same if they lead to the same file") func sameness() throws {
    try scratch.write([1], as: "a")
    try scratch.write([1], as: "b")
    try scratch.link("link", to: "a")
    try scratch.makeFolder("folder")
    #expect(FileSystem.isSame(path("a"), path("link")))
    #expect(FileSystem.isSame(path("a"), path("folder/../a")))
    #expect(!FileSystem.isSame(path("a"), path("b")))
    #expect(!FileSystem.isSame(path("a"), path("absent")))
    #expect(!FileSystem.isSame(path("absent"), path("absent")))
  }

  @Test("shell patterns match across dots and slashes") func globs() {
    let cases = [
      ("model.layers.0.q_proj", "*.q_proj", true), ("a/b.c", "*", true), ("abc", "a?c", true),
      ("abc", "a[bx]c", true), ("abc", "a[!b]c", false), ("abc", "ab", false), ("", "*", true),
      ("a*c", #"a\*c"#, true), ("abc", #"a\*c"#, false), ("ABC", "abc", false),
    ]
    for (name, glob, fits) in cases {
      #expect(FileSystem.matches(name, glob: glob) == fits, "\(name) ~ \(glob)")
    }
  }

  @Test("the names in a folder are in byte order") func names() throws {
    for name in ["b", "a", "B", ".hidden", "ü", "a.b"] { try scratch.write([], as: name) }
    #expect(
      FileSystem.names(in: FilePath(scratch.folder)) == [".hidden", "B", "a", "a.b", "b", "ü"])
    #expect(FileSystem.names(in: path("absent")) == [])
  }
}
