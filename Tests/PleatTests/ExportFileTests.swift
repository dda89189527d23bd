import Adapters
import Bytes
import Formats
import Pleat
import TestSupport
import Testing

/// The contents of exported adapters, and adapters that cannot be exported.
@Suite struct ExportFileTests {
  let folder: Folder
  private var scratch: Scratch { folder.scratch }

  init() throws { folder = try Folder() }

  private static func factors(
    _ indices: [Int], rank: Int = 2, width: Int? = nil
  ) -> [ToyFactors] {
    indices.map { index in
      let weight = ExportModel.weights[index]
      return ToyFactors(
        weight.huggingFace, weight.height, width ?? weight.width, rank: rank,
        seed: 840 + UInt64(index))
    }
  }

  private func export(
    _ applied: AppliedAdapter, of model: Model, for target: AdapterExport.Target, to name: String,
    replacing: Bool = false
  ) throws(ModelError) -> AdapterExport {
    let export = try AdapterExport(applied, of: model, for: target, to: scratch.path(name))
    _ = try export.write(replacing: replacing)
    return export
  }

  /// The error of an export; it must leave no files.
  private func error(
    _ applied: AppliedAdapter, of model: Model, for target: AdapterExport.Target,
    to name: String? = nil
  ) throws -> ModelError? {
    let before = try scratch.names()
    let error = Laws.error { () throws(ModelError) in
      try export(
        applied, of: model, for: target, to: name ?? (target == .gguf ? "out.gguf" : "out"))
    }
    #expect(try scratch.names() == before)
    return error
  }

  // MARK: - Config and metadata

  @Test("the config has the keys of PEFT and names modules by their last path component")
  func config() throws {
    let base = try ExportModel.huggingFace(in: scratch)
    _ = try export(
      try folder.applied(Self.factors([1, 2, 3, 4]), scale: 0.5), of: base, for: .peft, to: "out")
    let config = try ExportedFile(scratch.path("out"), .peft).config
    let expected: JSONValue = [
      "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": .null, "r": 2,
      "lora_alpha": 3, "lora_dropout": .number(0), "bias": "none",
      "target_modules": ["down_proj", "k_proj", "q_proj"], "rank_pattern": .object([]),
      "alpha_pattern": .object([]), "fan_in_fan_out": false, "use_rslora": false,
      "use_dora": false, "inference_mode": true,
    ]
    let keys = { (value: JSONValue) in (value.members ?? []).map(\.key).sorted() }
    #expect(keys(config) == keys(expected))
    for member in expected.members ?? [] { #expect(config[member.key] == member.value) }
    #expect(try scratch.names(in: "out") == ["adapter_config.json", "adapter_model.safetensors"])
  }

  @Test(
    "modules whose last path component is ambiguous are named by the whole path",
    arguments: [false, true])
  func wholePaths(isGGUF: Bool) throws {
    let base = try isGGUF ? ExportModel.llama(in: scratch) : ExportModel.huggingFace(in: scratch)
    _ = try export(try folder.applied(Self.factors([1, 3])), of: base, for: .peft, to: "out")
    let config = try ExportedFile(scratch.path("out"), .peft).config
    // Layer 4 has a down_proj too, but no other layer has a q_proj.
    #expect(config["target_modules"] == ["model.layers.3.mlp.down_proj", "q_proj"])
  }

  @Test("the config has the most frequent rank; rank_pattern has the others by whole path")
  func ranks() throws {
    let factors = Self.factors([1, 2], rank: 4) + Self.factors([3], rank: 7) + Self.factors([4])
    let pattern = "\"r\":4,\"rank_pattern\":{\"3.mlp.down_proj\":7,\"4.mlp.down_proj\":2}"
    try scratch.write(
      "{\"peft_type\":\"LORA\",\"lora_alpha\":6,\(pattern)}", as: "lora/adapter_config.json")
    try scratch.write(
      ToyFiles.safetensors(factors.flatMap(\.tensors)), as: "lora/adapter_model.safetensors")
    let applied = AppliedAdapter(try AdapterFile.open(scratch.path("lora")))
    let base = try ExportModel.huggingFace(in: scratch)
    let export = try export(applied, of: base, for: .peft, to: "out")
    #expect(export.modules.map(\.rank) == [4, 4, 7, 2])
    let config = try ExportedFile(scratch.path("out"), .peft).config
    #expect(config["r"] == 4)
    let expected: JSONValue = [
      "model\\.layers\\.3\\.mlp\\.down_proj": 7, "model\\.layers\\.4\\.mlp\\.down_proj": 2,
    ]
    #expect(config["rank_pattern"] == expected)
    let again = try AdapterFile.open(scratch.path("out"))
    let ranks = again.adapter.changes.compactMap { change -> Int? in
      guard case .lowRank(let product)? = change.candidates.first?.operation else { return nil }
      return product.rank
    }
    #expect(ranks.sorted() == [2, 4, 4, 7])
  }

  @Test("a module keeps its rank if its path is the end of another path")
  func nestedPaths() throws {
    let paths = [("model.layers.0.fc", 4), ("vision.model.layers.0.fc", 2), ("model.up", 2)]
    let factors = paths.enumerated().map { index, path in
      ToyFactors(path.0, 6, 16, rank: path.1, seed: 870 + UInt64(index))
    }
    let base = try Models.make(
      paths.map { Toy("\($0.0).weight", .f16, [6, 16], seed: 873) }, in: scratch)
    let pattern = "\"vision.model.layers.0.fc\":2,\"model.layers.0.fc\":4"
    let applied = try folder.applied(factors, [], "\"rank_pattern\":{\(pattern)}")
    let written = try export(applied, of: base, for: .peft, to: "out")
    #expect(written.modules.map(\.rank).sorted() == [2, 2, 4])
    let again = AppliedAdapter(try AdapterFile.open(scratch.path("out")))
    let found = try folder.fold([again], into: base, to: "found.safetensors")
    let expected = try folder.fold([applied], into: base, to: "expected.safetensors")
    #expect(found.report.tensors.count == 3)
    for path in paths {
      let name = "\(path.0).weight"
      let left = Numbers.floats(f16: try found.model.part(.values, of: name))
      let right = Numbers.floats(f16: try expected.model.part(.values, of: name))
      #expect(zip(left, right).allSatisfy { ($0 - $1).magnitude <= 1e-2 * $1.magnitude }, "\(name)")
    }
  }

  @Test("an export for llama.cpp has the metadata that it requires", arguments: [false, true])
  func metadata(isGGUF: Bool) throws {
    let base = try isGGUF ? ExportModel.llama(in: scratch) : ExportModel.huggingFace(in: scratch)
    let applied = try folder.applied(Self.factors([1]), as: "my-lora", scale: 2)
    _ = try export(applied, of: base, for: .gguf, to: "out.gguf")
    let model = try Model.open(scratch.path("out.gguf"))
    let expected: [(String, MetadataValue)] = [
      ("general.architecture", .text("llama")), ("general.type", .text("adapter")),
      ("general.name", .text("my-lora")), ("adapter.type", .text("lora")),
      ("adapter.lora.alpha", .float(12)),
    ]
    #expect(model.catalog.metadata.entries.count == expected.count)
    for (key, value) in expected { #expect(model.catalog.metadata[key] == value, "\(key)") }
    #expect(model.isAdapter)
    #expect(
      model.catalog.tensors.map(\.name)
        == ["blk.3.attn_q.weight.lora_a", "blk.3.attn_q.weight.lora_b"])
    #expect(model.catalog.tensors.map(\.shape.dimensions) == [[2, 64], [24, 2]])
  }

  @Test("an adapter without effect has no effect after export") func nothing() throws {
    let base = try ExportModel.huggingFace(in: scratch)
    let zeros = try folder.applied(Self.factors([1]).map(\.withoutEffect), as: "zeros")
    try scratch.write(
      "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":0}", as: "none/adapter_config.json")
    try scratch.write(
      ToyFiles.safetensors(Self.factors([1]).flatMap(\.tensors)),
      as: "none/adapter_model.safetensors")
    let alpha = AppliedAdapter(try AdapterFile.open(scratch.path("none")))
    for (applied, name) in [(zeros, "1"), (alpha, "2")] {
      for target in AdapterExport.Target.allCases {
        let path = "\(name)-\(target.rawValue)" + (target == .gguf ? ".gguf" : "")
        _ = try export(applied, of: base, for: target, to: path)
        // llama.cpp reads alpha 0 as scale 1, so alpha 0 must not be exported.
        let exported = AppliedAdapter(try AdapterFile.open(scratch.path(path)))
        let result = try folder.fold([exported], into: base, to: "\(path).safetensors")
        let isSame = try result.model.allParts() == base.allParts()
        #expect(isSame, "\(path)")
      }
    }
  }

  @Test("layers with alpha 0 have no effect after export; the other layers keep theirs")
  func someZeros() throws {
    let base = try ExportModel.huggingFace(in: scratch)
    let config = "\"alpha_pattern\":{\"q_proj\":0,\"k_proj\":0}"
    let applied = try folder.applied(Self.factors([1, 2, 3]), [], config)
    for target in AdapterExport.Target.allCases {
      let path = "out" + (target == .gguf ? ".gguf" : "")
      _ = try export(applied, of: base, for: target, to: path)
      let exported = AppliedAdapter(try AdapterFile.open(scratch.path(path)))
      let found = try folder.fold([exported], into: base, to: "\(path).safetensors")
      let expected = try folder.fold([applied], into: base, to: "\(path)-expected.safetensors")
      for index in 1...3 {
        let name = "\(ExportModel.weights[index].huggingFace).weight"
        let left = Numbers.floats(f32: try found.model.part(.values, of: name))
        let right = Numbers.floats(f32: try expected.model.part(.values, of: name))
        let isClose = zip(left, right).allSatisfy { ($0 - $1).magnitude <= 1e-6 }
        #expect(isClose, "\(name) for \(target.rawValue)")
        #expect(left.contains { $0 != 0 } == (index == 3))
      }
    }
  }

  // MARK: - Refusals

  @Test(
    "all parts that cannot be exported are named in one error",
    arguments: AdapterExport.Target.allCases)
  func refusedParts(target: AdapterExport.Target) throws {
    let weight = ExportModel.weights[1]
    let base = try Models.make(
      [
        Toy("\(weight.huggingFace).weight", .f32, [24, 64], seed: 850),
        Toy("\(weight.huggingFace).bias", .f32, [24], seed: 851),
        Toy("model.norm.weight", .f32, [64], seed: 852),
        Toy("model.layers.3.mlp.down_proj.weight", .f32, [20, 128], seed: 853),
        Toy("experts.up", .f32, [3, 4, 8], seed: 854),
      ], in: scratch, metadata: [("general.architecture", "llama")])
    let more = [
      Toy("base_model.model.\(weight.huggingFace).lora_B.bias", .f32, [24], seed: 855),
      Toy("base_model.model.model.norm.weight", .f32, [64], seed: 856),
      Toy("base_model.model.experts.lora_A.weight", .f32, [6, 8], seed: 857),
      Toy("base_model.model.experts.lora_B.weight", .f32, [4, 6], seed: 858),
    ]
    let parts = try folder.applied(
      Self.factors([1, 3]), more, "\"lora_bias\":true,\"target_parameters\":[\"experts.up\"]",
      as: "parts")
    let found = try error(parts, of: base, for: target)
    #expect(found?.kind == .unsupported)
    #expect(found?.file == parts.file.adapter.path)
    for name in ["lora_B.bias", "model.norm.weight", "experts.lora_B.weight"] {
      #expect(found?.found?.contains(name) == true, "\(name) in \(found?.found ?? "")")
    }
    #expect(found?.found?.contains("down_proj") == false)
    let dora = try folder.applied(
      Self.factors([1]),
      [Toy("\(weight.huggingFace).lora_magnitude_vector", .f32, [24], seed: 859)],
      "\"use_dora\":true", as: "dora")
    let other = try error(dora, of: base, for: target)
    #expect(other?.kind == .unsupported)
    #expect(other?.found?.contains("q_proj") == true)
  }

  @Test("a whole tensor is ignored if it equals that of the base model, and refused if not")
  func copies() throws {
    let base = try Models.make(
      [
        Toy("a.weight", .f16, [6, 16], seed: 860), Toy("norm.weight", .f16, [7], seed: 861),
      ], in: scratch)
    let lora = ToyFactors("a", 6, 16, seed: 862)
    let same = try folder.applied([lora], [Toy("norm.weight", .f16, [7], seed: 861)], as: "same")
    let export = try export(same, of: base, for: .peft, to: "out")
    #expect(export.modules.count == 1)
    let other = try folder.applied([lora], [Toy("norm.weight", .f16, [7], seed: 863)], as: "other")
    #expect(try error(other, of: base, for: .peft, to: "no")?.found == "norm.weight")
  }

  @Test("an architecture without a name mapping is refused")
  func unknownNames() throws {
    let base = try ExportModel.huggingFace(in: scratch, config: "{\"model_type\":\"mamba\"}")
    let applied = try folder.applied(Self.factors([3]))
    let toGGUF = try error(applied, of: base, for: .gguf)
    #expect(toGGUF?.kind == .unsupported)
    let other = ExportModel.Weight(huggingFace: "x", gguf: "x", height: 4, width: 8)
    let gguf = try Model.open(
      try scratch.write(
        ToyFiles.gguf(
          [(Toy("x.weight", .f32, [4, 8], seed: 864), typeNumber: 0)],
          metadata: [("general.architecture", "mamba")]), as: "mamba.gguf"))
    let toPEFT = try error(
      try folder.applied([ToyFactors("x", other.height, other.width, seed: 865)], as: "x"),
      of: gguf,
      for: .peft)
    #expect(toPEFT?.kind == .unsupported)
    #expect(toPEFT?.tensor == "x.weight")
    // An export for PEFT needs no name mapping here.
    _ = try export(applied, of: base, for: .peft, to: "peft")
  }

  @Test("misfits, missing and useless --pooling are refused as in a fold") func misfits() throws {
    let base = try ExportModel.huggingFace(in: scratch)
    for target in AdapterExport.Target.allCases {
      let stray = try folder.applied([ToyFactors("stray", 4, 8, seed: 866)], as: "stray")
      #expect(try error(stray, of: base, for: target)?.kind == .mismatch)
      let silent = try folder.applied(Self.factors([3], width: 4), as: "silent")
      let found = try error(silent, of: base, for: target)
      #expect(found?.kind == .usage)
      #expect(found?.expected?.contains("--pooling") == true)
      let useless = try folder.applied(Self.factors([3]), as: "useless", pooling: .sum)
      #expect(try error(useless, of: base, for: target)?.kind == .usage)
    }
  }

  @Test(
    "a factor that is not finite is malformed, is named, and leaves no files",
    arguments: AdapterExport.Target.allCases, [Float.nan, .infinity])
  func nonFinite(target: AdapterExport.Target, value: Float) throws {
    var factors = Self.factors([1, 3])
    factors[1].b[5] = value
    let applied = try folder.applied(factors)
    let found = try error(applied, of: try ExportModel.huggingFace(in: scratch), for: target)
    #expect(found?.kind == .malformed)
    #expect(found?.file == applied.file.adapter.path)
    #expect(found?.tensor?.contains("down_proj") == true)
  }

  @Test("an existing output is replaced only on request, an input never")
  func outputs() throws {
    let base = try ExportModel.huggingFace(in: scratch)
    let applied = try folder.applied(Self.factors([1]))
    try scratch.write([1, 2], as: "out.gguf")
    #expect(try error(applied, of: base, for: .gguf)?.kind == .usage)
    #expect(try scratch.bytes(of: "out.gguf") == [1, 2])
    _ = try export(applied, of: base, for: .gguf, to: "out.gguf", replacing: true)
    #expect(try AdapterFile.open(scratch.path("out.gguf")).adapter.kind == .gguf)
    for name in ["adapter", "hf"] {
      let found = Laws.error { () throws(ModelError) in
        try export(applied, of: base, for: .peft, to: name, replacing: true)
      }
      #expect(found?.kind == .usage, "\(name)")
    }
    let file = try error(applied, of: base, for: .peft, to: "adapter_model.safetensors")
    #expect(file?.kind == .usage)
    #expect(file?.expected == "-o folder/")
  }
}
