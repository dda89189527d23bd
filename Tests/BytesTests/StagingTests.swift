import Bytes
import SystemPackage
import TensorModel
import TestSupport
import Testing

@Suite struct StagingTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func path(_ name: String) -> FilePath { FilePath(scratch.path(name)) }

  private func staging(
    _ name: String, folder: Bool = false, names: [String]? = nil, replacing: Bool = false
  ) throws(ModelError) -> Staging {
    try Staging(path(name), isFolder: folder, names: names ?? [name], replacing: replacing)
  }

  private func error(_ name: String, folder: Bool = false, replacing: Bool = false) -> ModelError? {
    Laws.error { () throws(ModelError) in
      try staging(name, folder: folder, replacing: replacing)
    }
  }

  private func publish(
    _ staging: Staging, guards: [String] = [],
    removing isStale: (String) -> Bool = { _ in false }
  ) throws(ModelError) {
    try staging.synchronize()
    try staging.publish(guards: guards, removing: isStale)
  }

  @Test("a file appears when it is published, without leftovers") func finishing() throws {
    let staging = try staging("out")
    try staging.create("out").write([1, 2, 3], at: 0)
    #expect(!(try scratch.names().contains("out")))
    try publish(staging)
    #expect(try scratch.names() == ["out"])
    #expect(try scratch.bytes(of: "out") == [1, 2, 3])
  }

  @Test("an unpublished output leaves nothing", arguments: [false, true])
  func dropping(folder: Bool) throws {
    do {
      let staging = try staging("out", folder: folder, names: ["a", "b"])
      try staging.create("a").write([1], at: 0)
      _ = try staging.create("b")
      #expect(try scratch.names().count == 1)
    }
    #expect(try scratch.names() == [])
  }

  @Test("an existing file is not replaced by default") func refusing() throws {
    try scratch.write([7], as: "out")
    #expect(error("out")?.kind == .usage)
    #expect(error("out", folder: true)?.kind == .usage)
    #expect(try scratch.names() == ["out"])
    #expect(try scratch.bytes(of: "out") == [7])
  }

  @Test("an existing file under any of several names is refused") func refusingSeveral() throws {
    try scratch.write([7], as: "out-2")
    let error = Laws.error { () throws(ModelError) in
      try staging("out", names: ["out-1", "out-2"])
    }
    #expect(error?.kind == .usage)
    #expect(error?.file == scratch.path("out-2"))
  }

  @Test("an existing file is replaced on request, at the end") func replacing() throws {
    try scratch.write([7], as: "out")
    let staging = try staging("out", replacing: true)
    try staging.create("out").write([1, 2], at: 0)
    #expect(try scratch.bytes(of: "out") == [7])
    try publish(staging)
    #expect(try scratch.bytes(of: "out") == [1, 2])
    #expect(try scratch.names() == ["out"])
  }

  @Test("an existing file survives an unpublished replacement") func keeping() throws {
    try scratch.write([7], as: "out")
    do {
      let staging = try staging("out", replacing: true)
      try staging.create("out").write([1, 2], at: 0)
    }
    #expect(try scratch.names() == ["out"])
    #expect(try scratch.bytes(of: "out") == [7])
  }

  @Test("a folder appears with all its files") func folders() throws {
    let staging = try staging("out", folder: true, names: ["a", "b"])
    try staging.create("a").write([1], at: 0)
    try staging.create("b").write([2], at: 0)
    try publish(staging)
    #expect(try scratch.names() == ["out"])
    #expect(try scratch.names(in: "out") == ["a", "b"])
  }

  @Test("by default only an empty folder is filled") func existingFolders() throws {
    try scratch.makeFolder("empty")
    let filled = try staging("empty", folder: true, names: ["a"])
    try filled.create("a").write([1], at: 0)
    try publish(filled)
    #expect(try scratch.names() == ["empty"])
    #expect(try scratch.names(in: "empty") == ["a"])
    #expect(error("empty", folder: true)?.kind == .usage)
  }

  @Test("replacing a folder removes stale files and keeps others") func staleFiles() throws {
    for name in ["model-1", "model-2", "model-3", "config.json"] {
      try scratch.write([7], as: "out/\(name)")
    }
    let staging = try staging("out", folder: true, names: ["model-1"], replacing: true)
    try staging.create("model-1").write([1], at: 0)
    try publish(staging) { $0.hasPrefix("model-") }
    #expect(try scratch.names(in: "out") == ["config.json", "model-1"])
    #expect(try scratch.bytes(of: "out/model-1") == [1])
    #expect(try scratch.bytes(of: "out/config.json") == [7])
    #expect(try scratch.names() == ["out"])
  }

  @Test("the parent folder must exist", arguments: ["absent/out", "file/out"])
  func parents(name: String) throws {
    try scratch.write([], as: "file")
    let error = error(name)
    #expect(error?.kind == .io)
    #expect(error?.hint != nil)
    #expect(try scratch.names() == ["file"])
  }

  @Test("a file that would replace a folder is refused at once", arguments: [false, true])
  func fileOverFolder(replacing: Bool) throws {
    try scratch.makeFolder("empty")
    try scratch.write([7], as: "full/a")
    for name in ["empty", "full"] {
      #expect(error(name, replacing: replacing) != nil, "\(name)")
    }
    #expect(try scratch.names() == ["empty", "full"])
  }

  @Test("a folder that would replace a file is refused at once") func folderOverFile() throws {
    try scratch.write([7], as: "out")
    #expect(error("out", folder: true, replacing: true) != nil)
    #expect(try scratch.bytes(of: "out") == [7])
  }

  @Test("a second writer of the same output is refused, and the first one is not disturbed")
  func twoWriters() throws {
    let first = try staging("out")
    try first.create("out").write([1], at: 0)
    let error = error("out")
    #expect(error?.kind == .usage)
    #expect(error?.file == scratch.path("out"))
    try publish(first)
    #expect(try scratch.bytes(of: "out") == [1])
    #expect(try scratch.names() == ["out"])
  }

  @Test("leftovers of a killed run are taken over and removed") func leftovers() throws {
    try scratch.write([7], as: ".out.partial/out")
    try scratch.write([7], as: ".out.partial/model-00001-of-00002.safetensors")
    let staging = try staging("out")
    try staging.create("out").write([1], at: 0)
    try publish(staging)
    #expect(try scratch.names() == ["out"])
    #expect(try scratch.bytes(of: "out") == [1])
  }

  @Test(
    "a folder that contains nested folders, or is a link, is filled in place",
    arguments: [false, true])
  func fillingInPlace(isLink: Bool) throws {
    try scratch.write([7], as: "real/config.json")
    try scratch.write([7], as: "real/model-1")
    if !isLink { try scratch.write([8], as: "real/inner/deep/notes") }
    if isLink { try scratch.link("out", to: scratch.path("real")) }
    let staging = try staging(
      isLink ? "out" : "real", folder: true, names: ["model-1", "config.json"], replacing: true)
    try staging.create("model-1").write([1], at: 0)
    try staging.create("config.json").write([2], at: 0)
    try publish(staging, guards: ["config.json"])
    #expect(try scratch.bytes(of: "real/model-1") == [1])
    #expect(try scratch.bytes(of: "real/config.json") == [2])
    #expect(try scratch.names() == (isLink ? ["out", "real"] : ["real"]))
    if !isLink { #expect(try scratch.bytes(of: "real/inner/deep/notes") == [8]) }
  }

  @Test("a device is never replaced", arguments: [false, true])
  func devices(replacing: Bool) {
    let error = Laws.error { () throws(ModelError) in
      try Staging("/dev/null", isFolder: false, names: ["null"], replacing: replacing)
    }
    #expect(error?.kind == .usage)
  }
}
