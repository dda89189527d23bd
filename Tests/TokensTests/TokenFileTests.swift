import SystemPackage
import TensorModel
import TestSupport
import Testing
import Tokens

/// Files of tokens: what is written is read, and what does not fit is refused with its place.
@Suite struct TokenFileTests {
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func read(
    _ name: String, _ size: Int = 100_000, type: TokenFile.NumberType? = nil, limit: Int? = nil
  ) throws(ModelError) -> [[Int32]] {
    try TokenFile.read(
      FilePath(scratch.path(name)), vocabularySize: size, type: type, limit: limit)
  }

  private func error(_ name: String, _ size: Int = 100_000) -> ModelError? {
    do throws(ModelError) {
      _ = try read(name, size)
      return nil
    } catch {
      return error
    }
  }

  /// An array of NumPy with a header of version 1.
  private func array(_ header: String, _ elements: [UInt8]) -> [UInt8] {
    let text = Array((header + "\n").utf8)
    return [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(text.count), 0] + text + elements
  }

  @Test(
    "ids that were written are read, in 16 bits for small vocabularies",
    arguments: ["a.bin", "a.npy"], [300, 65_536, 65_537])
  func roundTrip(name: String, size: Int) throws {
    let ids: [Int32] = [0, 299, 1, 0]
    let bytes = TokenFile.bytes(of: ids, for: FilePath(name), vocabularySize: size)
    try scratch.write(bytes, as: name)
    #expect(try read(name, size) == [ids])
    #expect(try read(name, size, limit: 2) == [[0, 299]])
    let header = name == "a.npy" ? 128 : 0
    #expect(bytes.count == header + (size > 65_536 ? 16 : 8))
  }

  @Test("a header of NumPy is that of NumPy 2")
  func header() {
    let bytes = TokenFile.bytes(of: [7], for: "a.npy", vocabularySize: 10)
    let text = "{'descr': '<u2', 'fortran_order': False, 'shape': (1,), }"
    #expect(bytes[..<10] == [0x93, 78, 85, 77, 80, 89, 1, 0, 118, 0])
    #expect(bytes[10..<10 + text.utf8.count] == Array(text.utf8)[...])
    #expect(bytes[127...] == [10, 7, 0])
  }

  @Test("arrays of signed numbers are read, negative ones refused")
  func signed() throws {
    let header = "{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }"
    try scratch.write(array(header, [5, 0, 0, 0, 0, 0, 0, 0]), as: "a.npy")
    #expect(try read("a.npy") == [[5]])
    try scratch.write(array(header, [UInt8](repeating: 255, count: 8)), as: "b.npy")
    let error = error("b.npy")
    #expect((error?.kind, error?.found) == (.mismatch, "-1"))
    #expect(error?.offset == 68)
  }

  @Test("the type of numbers without a header may be given")
  func types() throws {
    try scratch.write([1, 0, 2, 0], as: "a.bin")
    #expect(try read("a.bin", type: .u16) == [[1, 2]])
    #expect(try read("a.bin", 1000) == [[1, 2]])
    #expect(try read("a.bin", 1 << 20) == [[131_073]])
  }

  @Test("lines are lists of ids, or objects with such a list")
  func lines() throws {
    try scratch.write("[1, 2]\n\n{\"text\": \"a\", \"tokens\": [3]}\r\n[]", as: "a.jsonl")
    #expect(try read("a.jsonl") == [[1, 2], [3], []])
  }

  @Test("an id beyond the vocabulary is refused with its place")
  func foreign() throws {
    try scratch.write([1, 0, 9, 0, 4, 0], as: "a.bin")
    var error = error("a.bin", 9)
    #expect((error?.kind, error?.found) == (.mismatch, "9"))
    #expect((error?.offset, error?.expected) == (2, "ids below 9"))
    try scratch.write("[1]\n[2, 9]\n", as: "a.jsonl")
    error = self.error("a.jsonl", 9)
    #expect((error?.kind, error?.found) == (.mismatch, "9"))
    #expect(error?.tensor == "line 2")
  }

  @Test("damaged files are malformed, and arrays of other kinds unsupported")
  func damaged() throws {
    try scratch.write([1, 0, 2], as: "a.bin")
    #expect(error("a.bin", 9)?.kind == .malformed)
    for (name, text) in [
      ("a.jsonl", "{\"text\": []}"), ("b.jsonl", "[1, -2]"), ("c.jsonl", "[1] [2]"),
      ("d.jsonl", "[1.5]"), ("e.npy", "none"), ("f.jsonl", "[99999999999999999999]"),
    ] {
      try scratch.write(text, as: name)
      #expect(error(name)?.kind == .malformed, "\(name)")
    }
    let shape = "'fortran_order': False, 'shape': (2, 1), }"
    try scratch.write(array("{'descr': '<u2', " + shape, [1, 0, 2, 0]), as: "a.npy")
    #expect(error("a.npy")?.kind == .unsupported)
    let row = "'fortran_order': False, 'shape': (2,), }"
    for type in ["<f4", ">u2", "|S1"] {
      try scratch.write(array("{'descr': '\(type)', " + row, [1, 0, 2, 0]), as: "b.npy")
      #expect((error("b.npy")?.kind, error("b.npy")?.found) == (.unsupported, type))
    }
    for header in ["{'descr': '<u4', 'descr': '<u2', " + row, "('descr', '<u2')", "{'descr'}", "{"]
    {
      try scratch.write(array(header, [1, 0, 2, 0]), as: "b.npy")
      #expect(error("b.npy")?.kind == .malformed, "\(header)")
    }
    let spaced = " { \"shape\" : ( 2 , ) , 'note': \"a: 'b', (\", 'descr': \"<u2\" } "
    try scratch.write(array(spaced, [1, 0, 2, 0]), as: "b.npy")
    #expect(try read("b.npy") == [[1, 2]])
    try scratch.write(array("{'descr': '<u2', " + row, [1, 0, 2]), as: "c.npy")
    #expect(error("c.npy")?.kind == .malformed)
    #expect(error("missing.bin")?.kind == .io)
  }

  @Test("a damaged file gives an error or other ids", arguments: ["a.npy", "a.jsonl", "a.bin"])
  func flips(name: String) throws {
    let ids: [Int32] = [1, 2, 299]
    let bytes =
      name == "a.jsonl"
      ? Array("[1, 2]\n{\"tokens\": [299]}\n".utf8)
      : TokenFile.bytes(of: ids, for: FilePath(name), vocabularySize: 300)
    let file = try DamagedFile(bytes, as: name, in: scratch)
    func check() {
      guard let lists = try? read(name, 300) else { return }
      #expect(lists.joined().allSatisfy { (0..<300).contains($0) })
    }
    for mask: UInt8 in [1, 0x10, 0x80] {
      try file.forEachFlip(of: mask, in: bytes.indices) { _ in check() }
    }
    try file.forEachTruncation { _ in check() }
    #expect(try Array(read(name, 300).joined()) == ids)
  }
}
