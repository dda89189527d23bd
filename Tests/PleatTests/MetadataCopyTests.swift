import Formats
import Pleat
import TestSupport
import Testing
import Weights

/// Copies of models with changed metadata.
@Suite struct MetadataCopyTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// Copies a model, and returns the changes and notes; reads the result back.
  @discardableResult
  private func copy(
    _ path: String, to name: String, set assignments: [String] = [], remove keys: [String] = []
  ) throws(ModelError) -> MetadataCopy {
    let copy = try plan(path, to: name, set: assignments, remove: keys)
    let size = try copy.write(replacing: false, verifying: true)
    #expect(size.byteCount == copy.byteCount)
    return copy
  }

  private func plan(
    _ path: String, to name: String, set assignments: [String] = [], remove keys: [String] = []
  ) throws(ModelError) -> MetadataCopy {
    let model = try Model.open(path)
    var changes = MetadataChanges(of: model)
    for assignment in assignments { try changes.set(assignment) }
    for key in keys { try changes.remove(key) }
    return try MetadataCopy(of: model, with: changes, to: scratch.path(name))
  }

  /// The stored bytes of all tensors, by name and in file order.
  private func tensors(_ path: String) throws -> [(String, [UInt8])] {
    let reader = try Model.open(path).reader
    return try reader.stored.enumerated().map { index, tensor in
      var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
      try bytes.change(0..<bytes.count) { (span) throws(ModelError) in
        try reader.read(index, at: 0, into: &span)
      }
      return (tensor.name, bytes)
    }
  }

  private func expectSameTensors(_ left: String, _ right: String) throws {
    let (left, right) = (try tensors(left), try tensors(right))
    #expect(left.map(\.0) == right.map(\.0))
    #expect(left.map(\.1) == right.map(\.1))
  }

  // MARK: - GGUF

  /// An F32 vector with a NaN, a Q8_0 matrix and an I8 tensor of 5 bytes.
  private static let blocks: [(Toy, typeNumber: UInt32)] = {
    var random = Seeded(77)
    return [
      (Toy("a.weight", .f32, [3], [1, .nan, -2]), 0),
      (Toy("b.weight", .i8, [2, 96], bytes: random.bytes(204)), 8),
      (Toy("c.weight", .i8, [5], bytes: random.bytes(5)), 24),
    ]
  }()

  private static func file(
    name: String = "old", more: [(String, String)] = [], length: UInt32 = 64
  ) -> [UInt8] {
    ToyFiles.gguf(
      blocks, metadata: [("general.architecture", "llama"), ("general.name", name)] + more,
      counts: [("llama.context_length", length)])
  }

  static let edits: [(set: [String], remove: [String], expected: [UInt8])] = [
    (
      ["general.name=a longer name, so that the data moves on"], [],
      file(name: "a longer name, so that the data moves on")
    ),
    (["general.name="], [], file(name: "")),
    (["llama.context_length=32768"], [], file(length: 32768)),
    (["own.note=x", "general.url=y"], [], file(more: [("own.note", "x"), ("general.url", "y")])),
    (
      ["llama.context_length=7", "general.url=y"], [], file(more: [("general.url", "y")], length: 7)
    ),
    (
      [], ["general.name"],
      ToyFiles.gguf(
        blocks, metadata: [("general.architecture", "llama")],
        counts: [("llama.context_length", 64)])
    ),
  ]

  @Test("a copy has the bytes of a file that was written with the new metadata", arguments: edits)
  func wholeFile(set: [String], remove: [String], expected: [UInt8]) throws {
    let path = try scratch.write(Self.file(), as: "in.gguf")
    try copy(path, to: "out.gguf", set: set, remove: remove)
    #expect(try scratch.bytes(of: "out.gguf") == expected)
    #expect(try scratch.bytes(of: "in.gguf") == Self.file())
  }

  @Test("a file without padding behind its last tensor gets it") func padding() throws {
    let bytes = Self.file()
    let path = try scratch.write(Array(bytes.dropLast(27)), as: "in.gguf")
    try copy(path, to: "out.gguf", set: ["general.name=new"])
    #expect(try scratch.bytes(of: "out.gguf") == Self.file(name: "new"))
  }

  private static func shard(_ number: UInt32, note: (String, String)) -> [UInt8] {
    let tensors = number == 0 ? Array(blocks[..<2]) : Array(blocks[2...])
    return ToyFiles.gguf(
      tensors, metadata: [("general.architecture", "llama"), note],
      counts: [("split.no", number), ("split.count", 2), ("split.tensors.count", 3)])
  }

  @Test(
    "of a split set only the first file changes",
    arguments: ["new.gguf", "new", "new-00001-of-00002.gguf"])
  func splitSet(name: String) throws {
    let second = Self.shard(1, note: ("note", "the file's own"))
    try scratch.write(Self.shard(0, note: ("note", "old")), as: "old-00001-of-00002.gguf")
    let path = try scratch.write(second, as: "old-00002-of-00002.gguf")
    let copy = try copy(path, to: name, set: ["note=changed"])
    let names = ["new-00001-of-00002.gguf", "new-00002-of-00002.gguf"]
    #expect(copy.fileNames == names && copy.splitName == names.joined(separator: " … "))
    #expect(try scratch.bytes(of: names[0]) == Self.shard(0, note: ("note", "changed")))
    #expect(try scratch.bytes(of: names[1]) == second)
  }

  static let golden =
    Fixtures.names(in: "golden/gguf", suffix: ".gguf").filter { !$0.hasPrefix("big-endian") }
    .map { "golden/gguf/\($0).gguf" }
    + Fixtures.names(in: "golden/safetensors", suffix: ".safetensors")
    .map { "golden/safetensors/\($0).safetensors" } + ["golden/safetensors/sharded"]

  @Test("every golden file keeps its tensors and all other metadata", arguments: golden)
  func goldenFiles(name: String) throws {
    let suffix = Files.suffix(of: name)
    let out = scratch.path(Fixtures.isFolder(name) ? "out" : "out.\(suffix)")
    let old = try Model.open(Fixtures.path(name)).catalog
    try copy(
      Fixtures.path(name), to: Fixtures.isFolder(name) ? "out" : "out.\(suffix)",
      set: ["own.note:string=1"])
    let new = try Model.open(out).catalog
    #expect(Laws.areEqual(new.tensors, old.tensors))
    #expect(new.metadata["own.note"] == .text("1"))
    var metadata = new.metadata
    metadata["own.note"] = nil
    #expect(Laws.areEqual(metadata, old.metadata))
    try expectSameTensors(out, Fixtures.path(name))
  }

  @Test("big-endian files are refused with what to do") func bigEndian() {
    let error = Laws.error { () throws(ModelError) in
      try copy(Fixtures.path("golden/gguf/big-endian.gguf"), to: "out.gguf", set: ["own.note=x"])
    }
    #expect(error?.kind == .unsupported)
    #expect(error?.hint == "pleat convert --to gguf makes a little-endian file")
  }

  // MARK: - Safetensors

  private static let plain = [
    Toy("z.weight", .f16, [4, 8], seed: 41), Toy("a.weight", .f32, [2], [.infinity, 3]),
    Toy("m.qweight", .i32, [2, 2], bytes: [UInt8](1...16)),
  ]

  private func dataBytes(_ name: String) throws -> [UInt8] {
    let bytes = try scratch.bytes(of: name)
    let start = 8 + (0..<8).reduce(0) { $0 | Int(bytes[$1]) << (8 * $1) }
    return Array(bytes[start...])
  }

  @Test("a safetensors file keeps the order of its tensors, numbers or not") func order() throws {
    let path = try scratch.write(
      ToyFiles.safetensors(Self.plain, metadata: [("format", "mlx"), ("note", "old")]),
      as: "in.safetensors")
    try copy(path, to: "out.safetensors", set: ["note=ä \"\\"])
    // The data is 88 bytes long, so it begins at a multiple of 8 bytes.
    #expect(try scratch.bytes(of: "out.safetensors").count % 8 == 0)
    #expect(try dataBytes("out.safetensors") == Self.plain.flatMap(\.bytes))
    let metadata = try Model.open(scratch.path("out.safetensors")).catalog.metadata
    #expect(metadata.entries.map(\.key) == ["format", "note"])
    #expect(metadata["format"]?.text == "mlx" && metadata["note"]?.text == "ä \"\\")
  }

  @Test("a file without metadata gets only what is set, and may lose all again") func empty() throws
  {
    let path = try scratch.write(ToyFiles.safetensors(Self.plain), as: "in.safetensors")
    try copy(path, to: "out.safetensors", set: ["note=x"])
    let middle = scratch.path("out.safetensors")
    #expect(
      try Model.open(middle).catalog.metadata.entries == [.init(key: "note", value: .text("x"))])
    try copy(middle, to: "back.safetensors", remove: ["note"])
    #expect(try Model.open(scratch.path("back.safetensors")).catalog.metadata.entries.isEmpty)
    #expect(try dataBytes("back.safetensors") == Self.plain.flatMap(\.bytes))
  }

  /// Writes a folder of two shards whose metadata differs, with an index and two more files.
  private func shards(in folder: String) throws -> String {
    let names = ["weights-00001-of-00002.safetensors", "weights-00002-of-00002.safetensors"]
    try scratch.write(
      ToyFiles.safetensors([Self.plain[0]], metadata: [("format", "pt"), ("own", "1")]),
      as: "\(folder)/\(names[0])")
    try scratch.write(
      ToyFiles.safetensors(Array(Self.plain[1...]), metadata: [("format", "pt"), ("other", "2")]),
      as: "\(folder)/\(names[1])")
    let index =
      #"{"weight_map":{"z.weight":"\#(names[0])","a.weight":"\#(names[1])","#
      + #""m.qweight":"\#(names[1])"}, "metadata": {"total_size": 88}}"#
    try scratch.write(index, as: "\(folder)/model.safetensors.index.json")
    try scratch.write(#"{"model_type": "llama"}"#, as: "\(folder)/config.json")
    try scratch.write("read me", as: "\(folder)/README.md")
    return scratch.path(folder)
  }

  @Test("every shard of a folder changes, and its index and companions are copied")
  func folder() throws {
    let path = try shards(in: "in")
    let copy = try copy(path, to: "out", set: ["own=3"], remove: ["other"])
    #expect(copy.notes == ["not copied: README.md"])
    #expect(
      try scratch.names(in: "out") == scratch.names(in: "in").filter { $0 != "README.md" })
    for name in ["config.json", "model.safetensors.index.json"] {
      #expect(try scratch.bytes(of: "out/\(name)") == scratch.bytes(of: "in/\(name)"))
    }
    for number in 1...2 {
      let name = "weights-0000\(number)-of-00002.safetensors"
      let shard = try Model.open(scratch.path("out/\(name)"))
      #expect(shard.catalog.metadata["own"]?.text == "3")
      #expect(shard.catalog.metadata["other"] == nil)
      #expect(shard.catalog.metadata["format"]?.text == "pt")
      #expect(try dataBytes("out/\(name)") == dataBytes("in/\(name)"))
    }
  }

  @Test("a folder is copied to a folder and a file to a file") func shapes() throws {
    let folder = try shards(in: "in")
    let file = try scratch.write(ToyFiles.safetensors(Self.plain), as: "in.safetensors")
    for (path, name) in [
      (folder, "out.safetensors"), (folder + "/model.safetensors.index.json", "out.safetensors"),
      (file, "out"), (file, "in.safetensors"), (folder, "in"),
    ] {
      let error = Laws.error { () throws(ModelError) in try plan(path, to: name, set: ["a=1"]) }
      #expect(error?.kind == .usage, "\(path) to \(name)")
    }
  }

  // MARK: - Refusals

  @Test(
    "pleat files and folders of adapters are refused",
    arguments: ["golden/pleat/example.pleat", "adapters/lora_fp16"])
  func refused(name: String) {
    let error = Laws.error { () throws(ModelError) in
      try plan(Fixtures.path(name), to: "out", set: ["own.note=x"])
    }
    #expect(error?.kind == .unsupported && error?.hint != nil)
  }

  @Test("an existing output is kept, and a run that is stopped leaves nothing") func outputs()
    throws
  {
    let path = try scratch.write(Self.file(), as: "in.gguf")
    try scratch.write("kept", as: "there.gguf")
    let kept = Laws.error { () throws(ModelError) in
      try copy(path, to: "there.gguf", set: ["general.name=x"])
    }
    #expect(kept?.kind == .usage)
    #expect(try scratch.bytes(of: "there.gguf") == Array("kept".utf8))
    let cancellation = Cancellation()
    cancellation.request()
    let stopped = Laws.error { () throws(ModelError) in
      try plan(path, to: "out.gguf", set: ["general.name=x"]).write(
        replacing: false, cancellation: cancellation)
    }
    #expect(stopped?.kind == .interrupted)
    #expect(try scratch.names() == ["in.gguf", "there.gguf"])
  }
}
