import Adapters
import Bytes
import Formats
import Pleat
import TestSupport
import Testing

/// Adapters and base models with names of different projects, where a name mapping is not enough.
@Suite struct ExportNameTests {
  let folder: Folder
  private var scratch: Scratch { folder.scratch }

  init() throws { folder = try Folder() }

  // MARK: - Norms that llama.cpp stores plus one

  private static let norms = [
    ("model.norm", "output_norm"), ("model.layers.0.input_layernorm", "blk.0.attn_norm"),
  ]

  /// A model of an architecture with two norms and a weight, named as in llama.cpp.
  private func gguf(_ architecture: String) throws -> Model {
    let tensors =
      Self.norms.map { Toy("\($0.1).weight", .f32, [8], seed: 870) }
      + [Toy("blk.0.ffn_up.weight", .f32, [6, 8], seed: 871)]
    return try Model.open(
      try scratch.write(
        ToyFiles.gguf(
          tensors.map { ($0, 0) }, metadata: [("general.architecture", architecture)]),
        as: "\(architecture).gguf"))
  }

  private func huggingFace(_ modelType: String) throws -> Model {
    let tensors =
      Self.norms.map { Toy("\($0.0).weight", .f32, [8], seed: 870) }
      + [Toy("model.layers.0.mlp.up_proj.weight", .f32, [6, 8], seed: 871)]
    try scratch.write(ToyFiles.safetensors(tensors), as: "\(modelType)/model.safetensors")
    try scratch.write("{\"model_type\":\"\(modelType)\"}", as: "\(modelType)/config.json")
    return try Model.open(scratch.path(modelType))
  }

  @Test(
    "a norm of gemma in gguf cannot be replaced by its Hugging Face name",
    arguments: ["gemma", "gemma2", "gemma3"], 0..<norms.count)
  func gemma(architecture: String, index: Int) throws {
    let name = "\(Self.norms[index].0).weight"
    let applied = try folder.applied([], [Toy(name, .f32, [8], seed: 872)])
    let base = try gguf(architecture)
    let found = try folder.error([applied], into: base, to: "out.gguf")
    #expect(found.error?.kind == .unsupported)
    #expect(found.error?.file == applied.file.adapter.path)
    #expect(found.error?.tensor == "\(Self.norms[index].1).weight")
    #expect(found.error?.found?.contains("adds 1") == true)
    #expect(found.isClean)
    // The name of the base model itself is unambiguous.
    let own = try folder.applied(
      [], [Toy("\(Self.norms[index].1).weight", .f32, [8], seed: 872)], as: "own")
    #expect(try folder.fold([own], into: base, to: "own.gguf").report.tensors.count == 1)
    let type = architecture == "gemma3" ? "gemma3_text" : architecture
    let same = try folder.fold([applied], into: try huggingFace(type), to: "same.safetensors")
    #expect(same.report.tensors.map(\.name) == [name])
    // Other weights of gemma have the same values in both projects.
    let lora = try folder.applied(
      [ToyFactors("model.layers.0.mlp.up_proj", 6, 8, seed: 873)], as: "lora")
    #expect(try folder.fold([lora], into: base, to: "lora.gguf").report.tensors.count == 1)
  }

  @Test(
    "norms of other architectures can be replaced by the Hugging Face name",
    arguments: ["llama", "qwen2", "qwen3", "phi3"])
  func otherNorms(architecture: String) throws {
    var random = Seeded(874)
    let values = random.weights(8)
    let applied = try folder.applied([], [Toy("model.norm.weight", .f32, [8], values)])
    let result = try folder.fold([applied], into: try gguf(architecture), to: "out.gguf")
    let stored = try result.model.part(.values, of: "output_norm.weight")
    #expect(Numbers.floats(f32: stored).bits == values.bits)
  }

  // MARK: - llama.cpp adapters for another architecture

  private func lora(_ architecture: String?, as name: String) throws -> AppliedAdapter {
    let factors = ToyFactors("blk.0.ffn_up", 6, 8, seed: 875)
    let own = architecture.map { [("general.architecture", $0)] } ?? []
    let bytes = ToyFiles.gguf(
      factors.tensorsOfGGUF.map { ($0, 0) },
      metadata: own + [("general.type", "adapter"), ("adapter.type", "lora")], alpha: 6)
    return AppliedAdapter(try AdapterFile.open(try scratch.write(bytes, as: "\(name).gguf")))
  }

  @Test(
    "a llama.cpp adapter for another architecture is a mismatch",
    arguments: [false, true])
  func architecture(isGGUF: Bool) throws {
    let base = try isGGUF ? gguf("qwen2") : huggingFace("qwen2")
    let name = isGGUF ? "out.gguf" : "out.safetensors"
    let wrong = try lora("llama", as: "wrong")
    let found = try folder.error([wrong], into: base, to: name)
    #expect(found.error?.kind == .mismatch)
    #expect(found.error?.file == wrong.file.adapter.path)
    #expect(found.error?.expected == "qwen2" && found.error?.found == "llama")
    #expect(found.isClean)
    let attaching = Laws.error { () throws(ModelError) in
      try folder.attach([wrong], names: ["wrong"], to: base, at: "both.pleat")
    }
    #expect(attaching?.kind == .mismatch)
    for target in AdapterExport.Target.allCases {
      let error = Laws.error { () throws(ModelError) in
        try AdapterExport(
          wrong, of: base, for: target,
          to: scratch.path(target == .gguf ? "wrong-out.gguf" : "wrong-out"))
      }
      #expect(error?.kind == .mismatch, "\(target.rawValue)")
    }
    let verifying = Laws.error { () throws(ModelError) in
      try Verification(of: base, against: base, adapters: [wrong])
    }
    #expect(verifying?.kind == .mismatch)
    let right = try folder.fold([try lora("qwen2", as: "right")], into: base, to: name)
    #expect(right.report.tensors.count == 1)
    try scratch.remove(name)
    // An adapter without an architecture is matched by its names.
    let silent = try folder.fold([try lora(nil, as: "silent")], into: base, to: name)
    #expect(silent.report.tensors.count == 1)
  }

  @Test("an attached llama.cpp adapter keeps its architecture") func attached() throws {
    let base = try gguf("llama")
    let applied = try lora("llama", as: "lora")
    let both = try folder.attach([applied], names: ["lora"], to: base, at: "both.pleat")
    let attached = AppliedAdapter(try #require(try AdapterFile(attached: "lora", in: both)))
    #expect(attached.file.config["general.architecture"] == "llama")
    #expect(try folder.fold([attached], into: both, to: "out.pleat").report.tensors.count == 1)
    let found = try folder.error([attached], into: try gguf("qwen2"), to: "no.gguf")
    #expect(found.error?.kind == .mismatch)
  }
}
