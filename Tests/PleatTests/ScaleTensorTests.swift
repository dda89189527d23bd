import Pleat
import TensorModel
import TestSupport
import Testing

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

  /// A model with a weight of 2 rows and 64 columns, and with one number beside it.
  private func model(
    _ name: String, typeNumber: UInt32, beside scale: String,
    metadata: [(String, String)] = [("general.architecture", "llama")]
  ) throws -> Model {
    var random = Seeded(611)
    let isPlain = typeNumber == Self.f16
    let bytes = isPlain ? Numbers.f16(random.weights(128)) : random.bytes(72)
    let tensors: [(Toy, typeNumber: UInt32)] = [
      (Toy(name, .u8, [2, 64], bytes: bytes), typeNumber),
      (Toy(scale, .f32, [1], seed: 612), 0),
    ]
    let file = ToyFiles.gguf(tensors, metadata: metadata)
    return try Model.open(try folder.scratch.write(file, as: "base.gguf"))
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
    "NVFP4 is not decoded without its scale, whatever the format",
    arguments: ["out.safetensors", "out.gguf", "out.pleat"], ["blk.0.ffn_up", "output"])
  func decoding(target: String, module: String) throws {
    let model = try model(
      "\(module).weight", typeNumber: Self.nvfp4, beside: "\(module).scale")
    let error = Laws.error { () throws(ModelError) in
      try convert(model, to: target, decodingTo: .f32)
    }
    #expect(error?.kind == .unsupported && error?.tensor == "\(module).weight")
    #expect(error?.expected == "no \(module).scale" && error?.found == "NVFP4")
  }

  @Test("NVFP4 is copied with its scale, also through a pleat file") func copying() throws {
    let model = try model(
      "blk.0.ffn_up.weight", typeNumber: Self.nvfp4, beside: "blk.0.ffn_up.scale")
    let packed = try convert(model, to: "out.pleat")
    let error = Laws.error { () throws(ModelError) in
      try convert(packed, to: "out.safetensors")
    }
    #expect(error?.tensor == "blk.0.ffn_up.weight" && error?.found == "NVFP4")
    let copy = try convert(packed, to: "out.gguf")
    #expect(try Files.bytes(of: copy.path) == Files.bytes(of: model.path))
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

  @Test("an adapter is not folded into a weight with a scale", arguments: [f16, nvfp4])
  func folding(typeNumber: UInt32) throws {
    let model = try model(
      "blk.0.ffn_up.weight", typeNumber: typeNumber, beside: "blk.0.ffn_up.scale")
    let options = typeNumber == Self.f16 ? FoldOptions() : Self.dequantizing
    let result = try folder.error(
      [try lora("blk.0.ffn_up")], into: model, to: "out.gguf", options)
    #expect(result.error?.kind == .unsupported && result.isClean)
    #expect(result.error?.what.contains("multiplies by blk.0.ffn_up.scale") == true)
  }

  @Test("NVFP4 without a scale takes an adapter when it is decoded") func foldingWithout() throws {
    let model = try model(
      "blk.0.ffn_up.weight", typeNumber: Self.nvfp4, beside: "output_norm.weight")
    let result = try folder.fold(
      [try lora("blk.0.ffn_up")], into: model, to: "out.gguf", Self.dequantizing)
    #expect(result.report.total.codeCount == 0)
    #expect(result.model.catalog.tensors[0].encoding == .plain(.f16))
  }
}
