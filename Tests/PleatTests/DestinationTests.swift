import Pleat
import TestSupport
import Testing

/// Outputs that are refused when the plan is made.
@Suite struct DestinationTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func model() throws -> Model {
    try Models.make([Toy("a.weight", .f16, [4, 64], seed: 1)], in: scratch)
  }

  private func error(_ model: Model, _ destination: Destination) -> ModelError? {
    Laws.error { () throws(ModelError) in try Plan.converting(model, to: destination) }
  }

  @Test("the output must not be the input, under any path") func sameFile() throws {
    let model = try model()
    try scratch.makeFolder("sub")
    try scratch.link("link.safetensors", to: "model.safetensors")
    try scratch.link("sub/folder", to: scratch.folder)
    for name in [
      "model.safetensors", "sub/../model.safetensors", "link.safetensors",
      "sub/folder/model.safetensors",
    ] {
      let error = error(
        model, Destination(path: scratch.path(name), format: .safetensors))
      #expect(error?.kind == .usage, "\(name)")
    }
  }

  @Test("an input that was opened through a link must not be the output")
  func openedByLink() throws {
    _ = try model()
    let model = try Model.open(try scratch.link("link.safetensors", to: "model.safetensors"))
    for name in ["model.safetensors", "link.safetensors"] {
      let destination = Destination(path: scratch.path(name), format: .safetensors)
      #expect(error(model, destination)?.kind == .usage, "\(name)")
    }
  }

  @Test("the output must not be the input folder or a file in it") func folders() throws {
    let bytes = ToyFiles.safetensors([Toy("a.weight", .f16, [4, 64], seed: 1)])
    try scratch.write(bytes, as: "folder/model.safetensors")
    try scratch.write("{}", as: "folder/config.json")
    let model = try Model.open(scratch.path("folder"))
    for name in ["folder", "folder/", "folder/model.safetensors"] {
      let destination = Destination(path: scratch.path(name), format: .safetensors)
      #expect(error(model, destination)?.kind == .usage, "\(name)")
    }
  }

  @Test("the output must not be a companion of the input")
  func companions() throws {
    let bytes = ToyFiles.safetensors([Toy("a.weight", .f16, [4, 64], seed: 1)])
    try scratch.write(bytes, as: "folder/model.safetensors")
    try scratch.write("{}", as: "folder/config.json")
    let model = try Model.open(scratch.path("folder"))
    let destination = Destination(path: scratch.path("folder/config.json"), format: .pleat)
    #expect(error(model, destination)?.kind == .usage)
  }

  @Test("the output must not be the folder that contains the input file")
  func folderAround() throws {
    let bytes = ToyFiles.safetensors([Toy("a.weight", .f16, [4, 64], seed: 1)])
    let path = try scratch.write(bytes, as: "folder/model.safetensors")
    let destination = Destination(
      path: scratch.path("folder"), format: .safetensors, shardByteCount: 1)
    #expect(error(try Model.open(path), destination)?.kind == .usage)
    let index = try scratch.write(
      #"{"weight_map":{"a.weight":"model.safetensors"}}"#,
      as: "folder/model.safetensors.index.json")
    #expect(error(try Model.open(index), destination)?.kind == .usage)
  }

  @Test("a split output must not have the file names of a split input") func splitSets() throws {
    for name in try Files.names(in: Fixtures.path("golden/gguf/split")) {
      try scratch.write(try Fixtures.bytes("golden/gguf/split/\(name)"), as: name)
    }
    let model = try Model.open(scratch.path("model-00001-of-00003.gguf"))
    // Some of these limits give three files again.
    let plan = { (limit: Int) throws(ModelError) in
      try Plan.converting(
        model,
        to: Destination(
          path: scratch.path("model.gguf"), format: .gguf, shardByteCount: limit))
    }
    let limits = [200, 300, 400, 450, 500, 600]
    let errors = limits.map { limit in
      Laws.error { () throws(ModelError) in
        let plan = try plan(limit)
        if plan.fileNames.contains("model-00001-of-00003.gguf") {
          throw ModelError(.interrupted, "planned to write over the input")
        }
      }
    }
    #expect(!errors.contains { $0?.kind == .interrupted })
    #expect(errors.contains { $0?.kind == .usage })
  }

  @Test("any file of a set names the set as output") func setMembers() throws {
    let model = try Model.open(Fixtures.path("golden/gguf/split/model-00001-of-00003.gguf"))
    let names = try [200, 300, 400, 450, 500, 600].map { limit in
      let path = scratch.path("set-00002-of-00003.gguf")
      return try Plan.converting(
        model, to: Destination(path: path, format: .gguf, shardByteCount: limit)
      ).fileNames
    }
    let three = try #require(names.first { $0.count == 3 })
    #expect(three == (1...3).map { "set-0000\($0)-of-00003.gguf" })
  }

  @Test("only pleat files can be compressed, and they cannot be split") func features() throws {
    let model = try model()
    for format in Formats.all {
      let path = scratch.path("out.\(format.name)")
      let compressed = error(model, Destination(path: path, format: format, compresses: true))
      #expect(compressed?.kind == (format == .pleat ? nil : .usage), "\(format.name)")
      if format == .pleat {
        let split = error(model, Destination(path: path, format: format, shardByteCount: 1000))
        #expect(split?.kind == .usage)
      }
    }
  }

  @Test("an unknown format is a usage error that lists the known formats") func formats() {
    let error = Laws.error { () throws(ModelError) in try Formats.named("safetensor") }
    #expect(error?.kind == .usage)
    #expect(
      error?.expected == "safetensors, gguf, mlx, gptq, gptq-v1, awq, compressed-tensors, pleat")
  }
}
