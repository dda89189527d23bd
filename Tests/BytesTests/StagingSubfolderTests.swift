import Bytes
import SystemPackage
import TensorModel
import TestSupport
import Testing

/// Outputs with files in sub-folders.
@Suite struct StagingSubfolderTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let names = ["config.json", "1_Pooling/config.json", "2_Dense/weights", "w-1"]

  private func staging(
    _ names: [String] = names, replacing: Bool = false, resuming: Bool? = nil
  ) throws(ModelError) -> Staging {
    try Staging(
      FilePath(scratch.path("out")), isFolder: true, names: names, replacing: replacing,
      resumption: resuming.map { Staging.Resumption(key: "k", isWanted: $0) })
  }

  /// Writes and publishes files whose only byte is their number.
  private func write(
    _ names: [String] = names, replacing: Bool = false, guards: [String] = []
  ) throws {
    let staging = try staging(names, replacing: replacing)
    for (index, name) in names.enumerated() {
      try staging.create(name).write([UInt8(index)], at: 0)
    }
    try staging.synchronize()
    try staging.publish(guards: guards) { $0.hasPrefix("w-") }
  }

  private func check(_ names: [String] = names) throws {
    for (index, name) in names.enumerated() {
      #expect(try scratch.bytes(of: "out/\(name)") == [UInt8(index)], "\(name)")
    }
    #expect(try scratch.names() == ["out"])
  }

  @Test("files appear in their sub-folders") func appearing() throws {
    try write()
    try check()
    #expect(try scratch.names(in: "out") == ["1_Pooling", "2_Dense", "config.json", "w-1"])
    #expect(try scratch.names(in: "out/1_Pooling") == ["config.json"])
  }

  @Test("an unpublished output leaves nothing, in sub-folders either") func dropping() throws {
    do {
      let staging = try staging()
      for name in Self.names { try staging.create(name).write([1], at: 0) }
    }
    #expect(try scratch.names() == [])
  }

  @Test("leftovers in sub-folders are removed, and links in them are not followed")
  func leftovers() throws {
    try scratch.write([7], as: "kept/file")
    try scratch.write([7], as: ".out.partial/1_Pooling/config.json")
    try scratch.write([7], as: ".out.partial/3_Old/config.json")
    try scratch.link(".out.partial/link", to: scratch.path("kept"))
    try scratch.link(".out.partial/3_Old/link", to: scratch.path("kept"))
    try write()
    #expect(try scratch.names(in: "out") == ["1_Pooling", "2_Dense", "config.json", "w-1"])
    #expect(try scratch.bytes(of: "kept/file") == [7])
  }

  @Test("a resumed run writes files in sub-folders again and keeps finished ones")
  func resuming() throws {
    do {
      let staging = try staging(resuming: true)
      let file = try staging.create("w-1")
      try file.write([3], at: 0)
      try staging.finish(file)
      try staging.create("1_Pooling/config.json").write([9, 9], at: 0)
    }
    #expect(try scratch.names() == [".out.partial"])
    let staging = try staging(resuming: true)
    #expect(staging.isKept("w-1") && !staging.isKept("1_Pooling/config.json"))
    for (index, name) in Self.names.enumerated() {
      let file = try staging.create(name)
      if !staging.isKept(name) { try file.write([UInt8(index)], at: 0) }
    }
    try staging.synchronize()
    try staging.publish()
    try check()
  }

  @Test("replacing a folder keeps other files, in sub-folders too, and removes stale ones")
  func replacing() throws {
    for name in ["notes", "w-2", "1_Pooling/other", "9_Old/w-9"] {
      try scratch.write([8], as: "out/\(name)")
    }
    try write(replacing: true)
    try check()
    #expect(
      try scratch.names(in: "out") == [
        "1_Pooling", "2_Dense", "9_Old", "config.json", "notes", "w-1",
      ])
    for name in ["notes", "1_Pooling/other", "9_Old/w-9"] {
      #expect(try scratch.bytes(of: "out/\(name)") == [8], "\(name)")
    }
  }

  @Test("a folder with empty or nested folders is filled in place", arguments: ["a/b/c", "a/"])
  func inPlace(name: String) throws {
    if name.hasSuffix("/") {
      try scratch.makeFolder("out/a")
    } else {
      try scratch.write([8], as: "out/\(name)")
    }
    try scratch.write([8], as: "out/1_Pooling/config.json")
    try write(replacing: true, guards: ["config.json"])
    try check()
    #expect(try scratch.names(in: "out").contains("a"))
  }

  @Test("a sub-folder that is a link or a file is refused before anything is written")
  func links() throws {
    try scratch.write([8], as: "elsewhere/config.json")
    try scratch.makeFolder("out")
    try scratch.link("out/1_Pooling", to: "../elsewhere")
    let link = Laws.error { () throws(ModelError) in try staging(replacing: true) }
    #expect(link?.kind == .usage && link?.file == scratch.path("out/1_Pooling"))
    try scratch.remove("out/1_Pooling")
    try scratch.write([8], as: "out/2_Dense")
    let file = Laws.error { () throws(ModelError) in try staging(replacing: true) }
    #expect(file?.kind == .usage && file?.file == scratch.path("out/2_Dense"))
    #expect(try scratch.bytes(of: "elsewhere/config.json") == [8])
    #expect(try scratch.names() == ["elsewhere", "out"])
  }

  @Test("a slash that is a part of a character separates names as well") func combined() throws {
    let name = "1_Pooling/\u{301}config.json"
    try write([name])
    #expect(try scratch.names(in: "out") == ["1_Pooling"])
    #expect(try scratch.bytes(of: "out/\(name)") == [0])
  }
}
