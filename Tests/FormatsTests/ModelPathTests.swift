import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// The model that a path opens.
@Suite struct ModelPathTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let weights = ToyFiles.safetensors([Toy("a.weight", .f16, [2, 4], seed: 1)])
  private static let others = ToyFiles.safetensors([Toy("b.weight", .f16, [2, 4], seed: 2)])

  private func fill(_ names: [String], with bytes: [UInt8] = weights) throws {
    for name in names { try scratch.write(bytes, as: "m/\(name)") }
  }

  private func openFolder() throws(ModelError) -> Model { try Model.open(scratch.path("m")) }

  @Test("the weights of a folder are searched in the order of transformers")
  func precedence() throws {
    try fill(["model.safetensors"])
    try fill(["consolidated.safetensors", "model-00001-of-00002.safetensors"], with: Self.others)
    try scratch.write("broken", as: "m/model.safetensors.index.json")
    try scratch.write("broken", as: "m/model.gguf")
    let model = try openFolder()
    #expect(model.fileCount == 1)
    #expect(model.catalog.tensors.map(\.name) == ["a.weight"])
  }

  @Test("model files come before other safetensors files, which are used if there are none")
  func otherNames() throws {
    try fill(["consolidated.safetensors"], with: Self.others)
    #expect(try openFolder().catalog.tensors.map(\.name) == ["b.weight"])
    try fill(["model-00001-of-00001.safetensors"])
    #expect(try openFolder().catalog.tensors.map(\.name) == ["a.weight"])
  }

  @Test("companions are the config and tokenizer files of a folder, not others")
  func companions() throws {
    try fill(["model.safetensors"])
    for name in [
      "config.json", "tokenizer.model", "vocab.txt", "chat_template.jinja", "modeling.py",
      "a.tiktoken",
    ] {
      try scratch.write("x", as: "m/\(name)")
    }
    for name in [
      "README.md", "model.safetensors.index.json", "adapter_config.json", "pytorch_model.bin",
      ".gitattributes", "json", "sub.json/x",
    ] {
      try scratch.write("{\"weight_map\":{}}", as: "m/\(name)")
    }
    #expect(
      try openFolder().catalog.companions.map(\.name) == [
        "a.tiktoken", "chat_template.jinja", "config.json", "modeling.py", "tokenizer.model",
        "vocab.txt",
      ])
  }

  @Test("companions are also files in sub-folders of modules and chat templates")
  func subfolders() throws {
    try fill(["model.safetensors"])
    let modules = ["", "1_Pooling", "2_Dense/", "3_Absent", "pooling", "../b"].map {
      #"{"path":"\#($0)","type":"x.Y"}"#
    }
    try scratch.write("[\(modules.joined(separator: ","))]", as: "m/modules.json")
    for name in [
      "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors",
      "2_Dense/pytorch_model.bin", "additional_chat_templates/rag.jinja",
    ] {
      try scratch.write("x", as: "m/\(name)")
    }
    for name in [
      "1_Pooling/README.md", "1_Pooling/deeper/config.json", "additional_chat_templates/x.json",
      "pooling/config.json", "4_Unlisted/config.json", "onnx/config.json", "original/params.json",
      ".git/config.json", "../b/config.json",
    ] {
      try scratch.write("x", as: "m/\(name)")
    }
    let model = try openFolder()
    #expect(
      model.catalog.companions.map(\.name) == [
        "modules.json", "1_Pooling/config.json", "2_Dense/config.json",
        "2_Dense/model.safetensors", "2_Dense/pytorch_model.bin",
        "additional_chat_templates/rag.jinja",
      ])
    #expect(model.catalog.tensors.map(\.name) == ["a.weight"])
    #expect(model.notes.count == 2)
    #expect(model.notes.first?.contains("names the folder pooling,") == true)
  }

  @Test("a list of modules that is not JSON names no folders") func brokenModules() throws {
    try fill(["model.safetensors"])
    try scratch.write("{", as: "m/modules.json")
    try scratch.write("x", as: "m/1_Pooling/config.json")
    #expect(try openFolder().catalog.companions.map(\.name) == ["modules.json"])
  }

  @Test("a single file has no companions; an index has those of its folder") func single() throws {
    try fill(["model.safetensors"])
    try scratch.write("{}", as: "m/config.json")
    let index = try scratch.write(
      #"{"weight_map":{"a.weight":"model.safetensors"}}"#, as: "m/model.safetensors.index.json")
    #expect(try Model.open(scratch.path("m/model.safetensors")).catalog.companions.isEmpty)
    #expect(try Model.open(index).catalog.companions.map(\.name) == ["config.json"])
  }

  @Test("links out of a folder are followed, as in the cache of Hugging Face")
  func links() throws {
    try scratch.write(Self.weights, as: "blobs/1")
    try scratch.write(Self.others, as: "blobs/2")
    try scratch.write("{}", as: "blobs/3")
    let index = #"{"weight_map":{"a.weight":"1.safetensors","b.weight":"2.safetensors"}}"#
    try scratch.write(index, as: "blobs/4")
    try scratch.makeFolder("m")
    for (name, blob) in [
      ("1.safetensors", "1"), ("2.safetensors", "2"), ("config.json", "3"),
      ("model.safetensors.index.json", "4"),
    ] {
      try scratch.link("m/\(name)", to: "../blobs/\(blob)")
    }
    let model = try openFolder()
    #expect(model.catalog.tensors.map(\.name) == ["a.weight", "b.weight"])
    #expect(model.catalog.companions.map(\.name) == ["config.json"])
    try scratch.remove("blobs/2")
    #expect(Laws.error { () throws(ModelError) in try openFolder() }?.kind == .io)
  }

  @Test("an index with a tensor twice is malformed, and names that only begin alike are two")
  func repeatedNames() throws {
    try fill(["1.safetensors"])
    func index(_ names: [String]) throws {
      let map = names.map { #""\#($0)":"1.safetensors""# }.joined(separator: ",")
      try scratch.write("{\"weight_map\":{\(map)}}", as: "m/model.safetensors.index.json")
    }
    try index(["a.weight", "a.weight"])
    let repeated = Laws.error { () throws(ModelError) in try openFolder() }
    #expect(repeated?.kind == .malformed && repeated?.tensor == "a.weight")
    #expect(repeated?.what == "the index has the tensor twice")
    try index(["a.weight", "a.weights"])
    let absent = Laws.error { () throws(ModelError) in try openFolder() }
    #expect(absent?.kind == .mismatch && absent?.tensor == "a.weights")
  }

  @Test(
    "an index cannot name a file outside its folder",
    arguments: [
      "../blobs/1.safetensors", "sub/1.safetensors", "./1.safetensors", "/dev/zero", "..", ".", "",
    ])
  func foreignNames(name: String) throws {
    try scratch.write(Self.weights, as: "blobs/1.safetensors")
    try scratch.makeFolder("m")
    try scratch.link("m/sub", to: "../blobs")
    try scratch.link("m/1.safetensors", to: "../blobs/1.safetensors")
    try scratch.write(
      "{\"weight_map\":{\"a.weight\":\"\(name)\"}}", as: "m/model.safetensors.index.json")
    let error = Laws.error { () throws(ModelError) in try openFolder() }
    #expect(error?.kind == .malformed)
    #expect(error?.what == "the index names a file outside its folder")
    try scratch.write(
      #"{"weight_map":{"a.weight":"1.safetensors"}}"#, as: "m/model.safetensors.index.json")
    #expect(try openFolder().catalog.tensors.count == 1)
  }

  @Test(
    "an adapter folder is recognized by its file name",
    arguments: [
      ("adapter_model.safetensors", true), ("adapters.safetensors", true),
      ("model.safetensors", false),
    ])
  func adapters(name: String, isAdapter: Bool) throws {
    try fill([name])
    #expect(try openFolder().isAdapter == isAdapter)
  }

  @Test(
    "the format of a file follows from its first bytes, not from its name",
    arguments: [
      "safetensors", "gguf", "pleat", "bin", "",
    ])
  func contents(suffix: String) throws {
    let sources = [
      ("safetensors", Fixtures.path("golden/safetensors/torch.safetensors")),
      ("gguf", Fixtures.path("golden/gguf/types.gguf")),
      (
        "pleat",
        try Rewriting.convert(
          Fixtures.path("golden/gguf/types.gguf"), to: scratch.path("source.pleat"), .pleat)
      ),
    ]
    for (format, path) in sources {
      let name = suffix.isEmpty ? "\(format)-file" : "\(format)-file.\(suffix)"
      let copy = try scratch.write(try Files.bytes(of: path), as: name)
      #expect(try Model.open(copy).format.name == format)
    }
  }

  @Test(
    "a folder with several gguf or pleat models is a usage error",
    arguments: ["gguf", "pleat"])
  func several(suffix: String) throws {
    let source = Fixtures.path("golden/gguf/types.gguf")
    try scratch.makeFolder("m")
    for name in ["a", "b"] {
      try Rewriting.convert(
        source, to: scratch.path("m/\(name).\(suffix)"), try Formats.named(suffix))
    }
    let error = Laws.error { () throws(ModelError) in try openFolder() }
    #expect(error?.kind == .usage)
    #expect(error?.found?.contains("a.\(suffix), b.\(suffix)") == true)
    try scratch.remove("m/b.\(suffix)")
    #expect(try openFolder().format.name == suffix)
  }

  @Test("an index may have any name with the suffix .safetensors.index.json")
  func indexNames() throws {
    try fill(["part.safetensors"])
    let index = try scratch.write(
      #"{"metadata":{"x":[1]},"weight_map":{"a.weight":"part.safetensors"}}"#,
      as: "m/consolidated.safetensors.index.json")
    let model = try Model.open(index)
    #expect(model.catalog.tensors.map(\.name) == ["a.weight"])
  }

  @Test("an empty index is malformed") func emptyIndex() throws {
    let index = try scratch.write(
      #"{"weight_map":{}}"#, as: "m/model.safetensors.index.json")
    for path in [index, scratch.path("m")] {
      let error = Laws.error { () throws(ModelError) in try Model.open(path) }
      #expect(error?.kind == .malformed)
      #expect(error?.what == "the index names no tensor")
    }
  }

  @Test("a shard may hold tensors that the index does not name") func extraTensors() throws {
    try scratch.write(
      ToyFiles.safetensors([
        Toy("a.weight", .f16, [2], [1, 2]), Toy("rotary", .f16, [2], [1, 2]),
      ]), as: "m/part.safetensors")
    try scratch.write(
      #"{"weight_map":{"a.weight":"part.safetensors"}}"#, as: "m/model.safetensors.index.json")
    #expect(try openFolder().catalog.tensors.map(\.name).contains("a.weight"))
  }
}
