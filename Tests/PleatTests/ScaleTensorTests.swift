import Pleat
import TensorModel
import TestSupport
import Testing
import Weights

/// Weights with a scale in a tensor of its own, as llama.cpp's converter writes NVFP4.
@Suite struct ScaleTensorTests {
  let folder: Folder
  /// The numbers of the types in GGUF.
  private static let f16: UInt32 = 1, nvfp4: UInt32 = 40

  init() throws { folder = try Folder() }

  private static var dequantizing: FoldOptions {
    var options = FoldOptions()
    options.dequantizes = true
    return options
  }

  /// Two blocks of NVFP4: each has 4 scales, then 64 codes.
  private static var blocks: [UInt8] {
    var random = Seeded(611)
    return (0..<2).flatMap { _ in
      (0..<4).map { _ in UInt8.random(in: 0...0x7E, using: &random) } + random.bytes(32)
    }
  }

  /// A model with a weight of 2 rows and 64 columns, and with the number 0.75 beside it.
  private func model(
    _ name: String, typeNumber: UInt32, beside scale: String?,
    metadata: [(String, String)] = [("general.architecture", "llama")]
  ) throws -> Model {
    var random = Seeded(614)
    let isPlain = typeNumber == Self.f16
    let bytes = isPlain ? Numbers.f16(random.weights(128)) : Self.blocks
    var tensors: [(Toy, typeNumber: UInt32)] = [
      (Toy(name, .u8, [2, 64], bytes: bytes), typeNumber)
    ]
    if let scale {
      tensors.append((Toy(scale, .f32, [1], bytes: Numbers.bytes([0.75], .f32)), 0))
    }
    let file = ToyFiles.gguf(tensors, metadata: metadata)
    return try Model.open(try folder.scratch.write(file, as: "\(scale ?? "none").gguf"))
  }

  private func values(of model: Model) throws -> [Float] {
    let reader = WeightReader(model: model)
    return try reader.values(of: try #require(reader.tensor(0)), rows: 0..<2)
  }

  private func convert(
    _ model: Model, to name: String, decodingTo type: ScalarType? = nil
  ) throws(ModelError) -> Model {
    let plan = try Plan.converting(
      model, decodingTo: type, to: try folder.destination(name))
    try Run(plan)()
    return try Model.open(folder.scratch.path(name))
  }

  private func lora(_ module: String) throws -> AppliedAdapter {
    try folder.applied([ToyFactors(module, 2, 64, seed: 613)])
  }

  @Test(
    "NVFP4 is decoded with its scale, whatever the format",
    arguments: ["out.safetensors", "out.gguf", "out.pleat"], ["blk.0.ffn_up", "output"])
  func decoding(target: String, module: String) throws {
    let alone = try model("\(module).weight", typeNumber: Self.nvfp4, beside: nil)
    // Three quarters of a scale of four binary digits are exact.
    let expected = try values(of: alone).map { $0 * 0.75 }
    let model = try model("\(module).weight", typeNumber: Self.nvfp4, beside: "\(module).scale")
    #expect(model.catalog.tensors.map(\.name) == ["\(module).weight"])
    #expect(try values(of: model) == expected)
    let decoded = try convert(model, to: target, decodingTo: .f32)
    #expect(decoded.catalog.tensors.map(\.encoding) == [.plain(.f32)])
    #expect(try values(of: decoded) == expected)
  }

  @Test("NVFP4 is copied with its scale, also through a pleat file") func copying() throws {
    let model = try model(
      "blk.0.ffn_up.weight", typeNumber: Self.nvfp4, beside: "blk.0.ffn_up.scale")
    let packed = try convert(model, to: "out.pleat")
    #expect(packed.catalog.tensors[0].encoding == .scaled(.nvfp4(.multiplier)))
    #expect(try values(of: packed) == values(of: model))
    let copy = try convert(packed, to: "out.gguf")
    #expect(try Files.bytes(of: copy.path) == Files.bytes(of: model.path))
  }

  @Test("a stack has a scale for each matrix") func stacks() throws {
    let blocks = Toy("blk.0.ffn_up_exps.weight", .u8, [2, 1, 64], bytes: Self.blocks)
    let scales = Toy("blk.0.ffn_up_exps.scale", .f32, [2], bytes: Numbers.bytes([0.5, 0.75], .f32))
    let metadata = [("general.architecture", "llama")]
    let file = ToyFiles.gguf([(blocks, Self.nvfp4), (scales, 0)], metadata: metadata)
    let model = try Model.open(try folder.scratch.write(file, as: "stack.gguf"))
    let alone = try self.model("blk.0.ffn_up.weight", typeNumber: Self.nvfp4, beside: nil)
    let expected = zip(try values(of: alone), 0...).map { $0 * ($1 < 64 ? 0.5 : 0.75) }
    #expect(try values(of: model) == expected)
    let packed = try convert(model, to: "out.pleat")
    #expect(try values(of: packed) == expected)
    let copy = try convert(packed, to: "out.gguf")
    #expect(try Files.bytes(of: copy.path) == Files.bytes(of: model.path))
  }

  @Test("a scale of another type or shape is malformed", arguments: [[2], [1, 1]])
  func wrongScales(shape: [Int]) throws {
    let blocks = Toy("blk.0.ffn_up.weight", .u8, [2, 64], bytes: Self.blocks)
    let count = shape.reduce(1, *)
    let bytes = Numbers.bytes(Array(repeating: 0.75, count: count), .f32)
    let scales = Toy("blk.0.ffn_up.scale", .f32, shape, bytes: bytes)
    let file = ToyFiles.gguf(
      [(blocks, Self.nvfp4), (scales, 0)], metadata: [("general.architecture", "llama")])
    let path = try folder.scratch.write(file, as: "wrong.gguf")
    let error = Laws.error { () throws(ModelError) in try Model.open(path) }
    #expect(error?.kind == .malformed && error?.tensor == "blk.0.ffn_up.scale")
  }

  @Test(
    "NVFP4 is decoded if the scale belongs to no weight or only to its inputs",
    arguments: ["blk.0.ffn_up.input_scale", "blk.0.ffn_down.scale", "ffn_up.scale"])
  func otherScales(scale: String) throws {
    let model = try model("blk.0.ffn_up.weight", typeNumber: Self.nvfp4, beside: scale)
    let decoded = try convert(model, to: "out.safetensors", decodingTo: .f32)
    #expect(decoded.catalog.tensors.map(\.encoding) == [.plain(.f32), .plain(.f32)])
    #expect(Set(decoded.catalog.tensors.map(\.name)) == ["blk.0.ffn_up.weight", scale])
  }

  @Test("an adapter is not folded into plain numbers with a scale") func folding() throws {
    let model = try model(
      "blk.0.ffn_up.weight", typeNumber: Self.f16, beside: "blk.0.ffn_up.scale")
    let result = try folder.error([try lora("blk.0.ffn_up")], into: model, to: "out.gguf")
    #expect(result.error?.kind == .unsupported && result.isClean)
    #expect(result.error?.what.contains("multiplies by blk.0.ffn_up.scale") == true)
  }

  @Test(
    "NVFP4 takes an adapter when it is decoded", arguments: ["blk.0.ffn_up.scale", nil])
  func foldingIntoBlocks(scale: String?) throws {
    let model = try model("blk.0.ffn_up.weight", typeNumber: Self.nvfp4, beside: scale)
    let result = try folder.fold(
      [try lora("blk.0.ffn_up")], into: model, to: "out.gguf", Self.dequantizing)
    #expect(result.report.total.codeCount == 0)
    #expect(
      result.model.catalog.tensors.map(\.encoding) == [.plain(scale == nil ? .f16 : .bf16)])
  }
}
