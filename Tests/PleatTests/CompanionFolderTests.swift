import Bytes
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Companion files in sub-folders, through all formats that hold companions.
@Suite struct CompanionFolderTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let companions = [
    "config.json": #"{"model_type":"qwen3"}"#,
    "modules.json": #"""
    [{"path":"","type":"x.Transformer"},{"path":"1_Pooling","type":"x.Pooling"},
     {"path":"2_Dense","type":"x.Dense"}]
    """#,
    "1_Pooling/config.json": #"{"pooling_mode_lasttoken":true}"#,
    "2_Dense/config.json": #"{"in_features":8}"#,
    "2_Dense/model.safetensors": "weights of a module",
    "additional_chat_templates/rag.jinja": String(repeating: "{{ rag }}\n", count: 150_000),
  ]

  /// A checkpoint with four tensors and companions in sub-folders.
  private func model() throws -> Model {
    let names = ["a", "b", "c", "d"].map { "model.layers.0.\($0).weight" }
    _ = try Models.make(
      names.enumerated().map { Toy($1, .f16, [64, 64], seed: UInt64(760 + $0)) }, in: scratch,
      as: "in/model.safetensors")
    for (name, text) in Self.companions { try scratch.write(text, as: "in/\(name)") }
    return try Model.open(scratch.path("in"))
  }

  private func convert(
    _ model: Model, to name: String, _ format: Format, compresses: Bool = false,
    shardByteCount: Int? = nil, replacing: Bool = false
  ) throws -> Plan {
    let plan = try Plan.converting(
      model,
      to: Destination(
        path: scratch.path(name), format: format, shardByteCount: shardByteCount,
        compresses: compresses))
    var run = Run(plan, replacing: replacing)
    run.verifies = true
    try run()
    return plan
  }

  private func check(_ folder: String) throws {
    for (name, text) in Self.companions {
      let isSame = try scratch.bytes(of: "\(folder)/\(name)") == Array(text.utf8)
      #expect(isSame, "\(name)")
    }
    let found = try Model.open(scratch.path(folder)).catalog.companions
    #expect(Set(found.map(\.name)) == Set(Self.companions.keys))
  }

  @Test("they go through a pleat file without loss", arguments: [false, true])
  func pleat(compresses: Bool) throws {
    let plan = try convert(try model(), to: "1.pleat", .pleat, compresses: compresses)
    #expect(plan.notes == [])
    let packed = try Model.open(scratch.path("1.pleat"))
    #expect(Set(packed.catalog.companions.map(\.name)) == Set(Self.companions.keys))
    let header = String(decoding: try scratch.bytes(of: "1.pleat"), as: UTF8.self)
    #expect(header.contains(#""companion-folders"]"#))
    _ = try convert(packed, to: "back", .safetensors)
    try check("back")
  }

  @Test("a checkpoint in shards has them, and replacing it keeps other files") func shards() throws
  {
    let model = try model()
    let plan = try convert(model, to: "out", .safetensors, shardByteCount: 10_000)
    #expect(plan.fileNames.contains("1_Pooling/config.json") && plan.isResumable)
    try check("out")
    try scratch.write("own", as: "out/9_Own/notes")
    _ = try convert(model, to: "out", .safetensors, replacing: true)
    try check("out")
    #expect(try scratch.bytes(of: "out/9_Own/notes") == Array("own".utf8))
    #expect(try scratch.names(in: "out").filter { $0.hasSuffix(".safetensors") }.count == 1)
  }

  @Test("an output cannot be a folder of modules of the input") func inside() throws {
    let model = try model()
    let error = Laws.error { () throws(ModelError) in
      try Plan.converting(
        model, to: Destination(path: scratch.path("in/1_Pooling"), format: .safetensors))
    }
    #expect(error?.kind == .usage)
  }
}
