import Pleat
import TestSupport
import Testing

/// A plan knows the size of the output before any weight is read.
@Suite struct SizeTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// A folder with odd shapes, companions and metadata.
  private func source() throws -> Model {
    let tensors = [
      Toy("model.embed_tokens.weight", .bf16, [7, 64], seed: 1),
      Toy("model.layers.0.q_proj.weight", .f16, [5, 64], seed: 2),
      Toy("model.layers.0.k_proj.weight", .f32, [3, 32], seed: 3),
      Toy("model.layers.0.odd.weight", .f16, [3, 33], seed: 4),
      Toy("norm.weight", .f32, [9], seed: 5),
      Toy("flags", .bool, [3], bytes: [0, 1, 1]),
    ]
    let metadata = [("format", "pt"), ("general.architecture", "llama"), ("note", "ü")]
    try scratch.write(
      ToyFiles.safetensors(tensors, metadata: metadata), as: "source/model.safetensors")
    try scratch.write("{\"model_type\":\"llama\"}", as: "source/config.json")
    try scratch.write([UInt8](repeating: 65, count: 1_100_000), as: "source/tokenizer.json")
    try scratch.write("", as: "source/empty.txt")
    return try Model.open(scratch.path("source"))
  }

  /// Runs a plan and compares the planned sizes and names with the files.
  private func check(_ plan: Plan, at path: String) throws {
    let written = try Run(plan, workerCount: 2)().size.byteCount
    let folder = path.hasSuffix("folder") ? path : scratch.folder
    let sizes = try plan.fileNames.map { try Files.byteCount(of: "\(folder)/\($0)") }
    #expect(written == sizes.reduce(0, +))
    #expect(plan.isExact ? written == plan.byteCount : written <= plan.byteCount)
    let names = try Files.names(in: folder).filter { $0 != "source" }
    #expect(names == plan.fileNames.sorted())
  }

  @Test("a quantized pleat file is as long as planned", arguments: Grouping.supportedBits)
  func quantized(bits: Int) throws {
    for (scheme, parameters) in Every.pair(
      of: Recipe.schemeNames, Grouping.supportedParameters)
    where Recipe.schemeNames(bits: bits, parameters).contains(scheme) {
      let scratch = try Scratch()
      let path = scratch.path("out.pleat")
      let plan = try Plan.quantizing(
        try source(), try .with(bits: bits, scheme: scheme, parameters: parameters),
        to: Destination(path: path, format: .pleat))
      #expect(plan.isExact)
      #expect(try Run(plan)().size.byteCount == plan.byteCount)
      #expect(try Files.byteCount(of: path) == plan.byteCount)
    }
  }

  @Test("a pleat file without quantization is as long as planned") func pleat() throws {
    let path = scratch.path("out.pleat")
    try check(
      try Plan.converting(try source(), to: Destination(path: path, format: .pleat)), at: path)
  }

  @Test("a compressed pleat file is at most as long as planned") func compressed() throws {
    let path = scratch.path("out.pleat")
    let plan = try Plan.converting(
      try source(), to: Destination(path: path, format: .pleat, compresses: true))
    #expect(!plan.isExact)
    try check(plan, at: path)
  }

  @Test("safetensors files are as long as planned, in shards too", arguments: [nil, 1, 700, 5000])
  func safetensors(limit: Int?) throws {
    let path = scratch.path("folder")
    let plan = try Plan.converting(
      try source(),
      to: Destination(path: path, format: .safetensors, shardByteCount: limit))
    #expect(plan.isExact)
    try check(plan, at: path)
  }

  @Test("one safetensors file is as long as planned") func oneFile() throws {
    let path = scratch.path("one.safetensors")
    let plan = try Plan.converting(
      try source(), to: Destination(path: path, format: .safetensors))
    #expect(plan.isExact)
    try check(plan, at: path)
  }

  @Test("gguf files are as long as planned, in splits too", arguments: [nil, 1, 700, 5000])
  func gguf(limit: Int?) throws {
    let tensors = [
      Toy("token_embd.weight", .f16, [7, 64], seed: 1), Toy("norm.weight", .f32, [9], seed: 2),
      Toy("blk.0.up.weight", .f16, [5, 64], seed: 3),
      Toy("blk.1.up.weight", .f16, [1, 32], seed: 4),
    ]
    try scratch.write(
      ToyFiles.gguf(tensors.map { ($0, $0.type == .f16 ? 1 : 0) }), as: "source/m.gguf")
    let model = try Model.open(scratch.path("source/m.gguf"))
    let path = scratch.path("out.gguf")
    let plan = try Plan.quantizing(
      model, Recipe(), to: Destination(path: path, format: .gguf, shardByteCount: limit))
    #expect(plan.isExact)
    try check(plan, at: path)
  }

  @Test("a pleat file made from a pleat file is as long as planned") func again() throws {
    let first = scratch.path("1.pleat")
    try Run(
      try Plan.quantizing(try source(), Recipe(), to: Destination(path: first, format: .pleat)))()
    let path = scratch.path("2.pleat")
    let plan = try Plan.converting(
      try Model.open(first), to: Destination(path: path, format: .pleat))
    #expect(try Run(plan)().size.byteCount == plan.byteCount)
    #expect(try Files.byteCount(of: path) == plan.byteCount)
  }

  @Test("bits per weight count the bytes of tensors only") func bitsPerWeight() throws {
    let model = try Models.make([Toy("a.weight", .f16, [4, 64], seed: 1)], in: scratch)
    #expect(Inspection(model).bitsPerWeight == 16)
    let plan = try Plan.quantizing(
      model, Recipe(), to: Destination(path: scratch.path("a.pleat"), format: .pleat))
    #expect(plan.bitsPerWeight == 5)
    let written = try Run(plan)().size
    #expect(written.tensorByteCount == 4 * 64 * 5 / 8)
    #expect(plan.bitsPerWeight(of: written) == 5)
    #expect(Inspection(try Model.open(scratch.path("a.pleat"))).bitsPerWeight == 5)
  }
}
