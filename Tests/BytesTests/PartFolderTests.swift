import Bytes
import SystemPackage
import TensorModel
import TestSupport
import Testing

/// The folder of parts: who may write there.
@Suite struct PartFolderTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private var folder: PartFolder { PartFolder(for: FilePath(scratch.path("out"))) }

  private let statement = PartFolder.Statement(
    key: "k", count: 3, folder: "/here", arguments: ["quantize", "a\nb"])

  private func journal() throws(ModelError) -> PartFolder.Journal {
    try PartFolder.Journal(of: 1, in: folder, title: "title", lines: ["old"])
  }

  @Test("the first part states what the others join") func joining() throws {
    try folder.prepare(statement)
    try folder.prepare(
      .init(key: "k", count: 3, folder: "/there", arguments: ["quantize"]))
    #expect(try folder.statement() == statement)
    for other in [("l", 3), ("k", 4)] {
      let error = Laws.error { () throws(ModelError) in
        try folder.prepare(.init(key: other.0, count: other.1, folder: "", arguments: []))
      }
      #expect(error?.kind == .usage)
    }
    #expect(try scratch.names() == [".out.parts"])
    #expect(try Files.names(in: scratch.path(".out.parts")) == ["output", "plan.json"])
  }

  @Test("a second run of a part is told so") func locked() throws {
    try folder.prepare(statement)
    let first = try journal()
    let error = Laws.error { () throws(ModelError) in _ = try journal() }
    #expect(error?.kind == .usage && error?.found == "part 1")
    try first.add(["new"])
    #expect(try folder.journal(of: 1, title: "title") == ["old", "new"])
    #expect(try folder.journal(of: 1, title: "other") == nil)
  }

  @Test("a run that lost its part is told so where there are no locks") func takenOver() throws {
    try folder.prepare(statement)
    let first = try journal()
    // Another run's journal, which is not read to the end here, has taken its place.
    try scratch.write("title\n", as: ".out.parts/part-1")
    let error = Laws.error { () throws(ModelError) in try first.add(["new"]) }
    #expect(error?.kind == .usage && error?.what == "another run has taken over this part")
  }

  @Test("a journal that was cut anywhere has only whole lines") func cut() throws {
    try folder.prepare(statement)
    try journal().add(["one", "two", "three"])
    let bytes = try scratch.bytes(of: ".out.parts/part-1")
    for count in bytes.indices {
      try scratch.write(Array(bytes[..<count]), as: ".out.parts/part-1")
      let lines = try folder.journal(of: 1, title: "title") ?? []
      #expect(["old", "one", "two", "three"].starts(with: lines))
      #expect(lines.count < 4)
    }
    for index in bytes.indices {
      var bytes = bytes
      bytes[index] ^= 1
      try scratch.write(bytes, as: ".out.parts/part-1")
      let lines = try folder.journal(of: 1, title: "title") ?? []
      #expect(Set(lines).isSubset(of: ["old", "one", "two", "three"]))
    }
  }

  @Test("a file that several parts write has its length at once, and no other")
  func sharing() throws {
    try folder.prepare(statement)
    let files = try (0..<2).map { _ in try folder.open("a", byteCount: 10) }
    try files[0].write([1, 2], at: 8)
    try files[1].write([3], at: 0)
    #expect(try scratch.bytes(of: ".out.parts/output/a") == [3, 0, 0, 0, 0, 0, 0, 0, 1, 2])
    let error = Laws.error { () throws(ModelError) in _ = try folder.open("a", byteCount: 11) }
    #expect(error?.kind == .malformed)
  }
}
