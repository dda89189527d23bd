import Adapters
import Bytes
import Formats
import Pleat
import TestSupport
import Testing

/// Adapters written for a runtime: the same change of every weight as before.
@Suite struct ExportTests {
  let folder: Folder
  private var scratch: Scratch { folder.scratch }

  init() throws { folder = try Folder() }

  /// An adapter for the layers of a small llama, and what it adds.
  struct Source: Sendable, CustomTestStringConvertible {
    var name: String
    /// More members of the config of PEFT.
    var config = ""
    var pooling: Pooling?
    /// The rank of the layer at an index.
    var rank: @Sendable (Int) -> Int = { _ in 2 }
    /// alpha / rank, or what takes its place, of the layer at an index.
    var scale: @Sendable (Int) -> Double = { _ in 3 }
    /// What the user multiplies it with.
    var strength = 1.0

    var testDescription: String { name }

    /// Columns of the base for each of A.
    var groupSize: Int { pooling == nil ? 1 : 32 }

    var factors: [ToyFactors] {
      ExportModel.layers.enumerated().map { index, weight in
        ToyFactors(
          weight.huggingFace, weight.height, weight.width / groupSize, rank: rank(index),
          seed: 810 + UInt64(index))
      }
    }

    /// What is added to the layer at an index, in Hugging Face's order of rows.
    func product(_ index: Int) -> ExportedProduct {
      let (factors, weight) = (factors[index], ExportModel.layers[index])
      let pooled: Double =
        switch pooling {
        case nil, .sum: 1
        case .mean: 1 / 32
        case .peft: Double(weight.width / 32) / 32
        }
      return ExportedProduct(
        factors.a, factors.b, rank: rank(index), scale: strength * pooled * scale(index),
        repeats: groupSize)
    }
  }

  static let sources = [
    Source(name: "LoRA"),
    Source(name: "a third of it, taken back", strength: -1.0 / 3),
    Source(
      name: "rsLoRA", config: "\"use_rslora\":true", scale: { _ in 6 / Double(2).squareRoot() }),
    Source(
      name: "rank_pattern", config: "\"rank_pattern\":{\"q_proj\":3,\"layers.4.mlp.down_proj\":5}",
      rank: { [3, 2, 2, 5][$0] }, scale: { [2, 3, 3, 1.2][$0] }),
    Source(
      name: "alpha_pattern", config: "\"alpha_pattern\":{\"k_proj\":1.7,\"q_proj\":-10}",
      scale: { [-5, 0.85, 3, 3][$0] }),
    Source(
      name: "rsLoRA with patterns",
      config: "\"use_rslora\":true,\"rank_pattern\":{\"down_proj\":3},"
        + "\"alpha_pattern\":{\"k_proj\":0.1}",
      rank: { [2, 2, 3, 3][$0] },
      scale: { [6, 0.1, 6, 6][$0] / Double([2, 2, 3, 3][$0]).squareRoot() }),
    Source(name: "sums of groups", pooling: .sum), Source(name: "means of groups", pooling: .mean),
    Source(
      name: "QA-LoRA of PEFT", config: "\"use_qalora\":true,\"qalora_group_size\":32",
      pooling: .peft, strength: 0.7),
  ]

  private func use(_ source: Source) throws -> AdapterUse {
    try folder.use(
      source.factors, [], source.config, scale: source.strength,
      pooling: source.config.contains("qalora") ? nil : source.pooling)
  }

  private func export(
    _ use: AdapterUse, of model: Model, for target: AdapterExport.Target, to name: String? = nil
  ) throws -> ExportedFile {
    let path = scratch.path(name ?? (target == .gguf ? "out.gguf" : "out"))
    let export = try AdapterExport(use, of: model, for: target, to: path)
    let written = try export.write(replacing: false).byteCount
    let file = try ExportedFile(path, target)
    let config = target == .peft ? try Files.byteCount(of: path + "/adapter_config.json") : 0
    #expect(written == export.byteCount)
    #expect(file.model.byteCount + config == written)
    #expect(file.alpha == export.alpha)
    return file
  }

  @Test(
    "(alpha / rank) · B · A is what the adapter adds, on bases of both worlds (seed 810)",
    arguments: sources, AdapterExport.Target.allCases)
  func products(source: Source, target: AdapterExport.Target) throws {
    for isGGUF in [false, true] {
      let base = try isGGUF ? ExportModel.llama(in: scratch) : ExportModel.huggingFace(in: scratch)
      let name = "\(isGGUF)" + (target == .gguf ? ".gguf" : "")
      let file = try export(try use(source), of: base, for: target, to: name)
      #expect(file.model.catalog.tensors.count == 2 * ExportModel.layers.count)
      for (index, weight) in ExportModel.layers.enumerated() {
        let product = source.product(index)
        let expected = target == .gguf ? product.interleaved(weight) : product
        let error = expected.error(of: try file.product(weight, target))
        #expect(error <= 1e-6, "\(weight.gguf) of a base of \(base.format.name)")
      }
    }
  }

  @Test("factors of plain LoRA are written as they are (seed 810)")
  func untouched() throws {
    let source = Self.sources[0]
    let base = try ExportModel.huggingFace(in: scratch)
    let peft = try export(try use(source), of: base, for: .peft)
    let gguf = try export(try use(source), of: base, for: .gguf)
    for (factors, weight) in zip(source.factors, ExportModel.layers) {
      let prefix = "base_model.model.\(weight.huggingFace)"
      #expect(try peft.tensor("\(prefix).lora_A.weight").values.bits == factors.a.bits)
      #expect(try peft.tensor("\(prefix).lora_B.weight").values.bits == factors.b.bits)
      #expect(try gguf.tensor("\(weight.gguf).weight.lora_a").values.bits == factors.a.bits)
      let rows = ExportModel.interleaved(factors.b, weight)
      #expect(try gguf.tensor("\(weight.gguf).weight.lora_b").values.bits == rows.bits)
    }
    #expect(peft.alpha == 6 && gguf.alpha == 6)
  }

  @Test("a pooled A has each of its columns as often as groups have columns (seed 810)")
  func repeated() throws {
    let source = Self.sources[6]
    let file = try export(
      try use(source), of: try ExportModel.huggingFace(in: scratch), for: .peft)
    for (factors, weight) in zip(source.factors, ExportModel.layers) {
      let a = try file.tensor("base_model.model.\(weight.huggingFace).lora_A.weight")
      #expect(a.shape == [2, weight.width])
      let wanted = factors.a.flatMap { [Float](repeating: $0, count: 32) }
      #expect(a.values.bits == wanted.bits)
    }
  }

  // MARK: - Embeddings, other kinds, weights stored the other way round

  /// An adapter of the embeddings, in PEFT's manner: Aᵀ has the rows of the base.
  private func embedding(_ seed: UInt64) -> (factors: ToyFactors, tensors: [Toy]) {
    let weight = ExportModel.embedding
    let factors = ToyFactors("x", weight.height, weight.width, seed: seed)
    let prefix = "base_model.model.\(weight.huggingFace)"
    return (
      factors,
      [
        Toy(
          "\(prefix).lora_embedding_A", .f32, [2, weight.height],
          ToyFactors.turned(factors.b, rows: weight.height)),
        Toy(
          "\(prefix).lora_embedding_B", .f32, [weight.width, 2],
          ToyFactors.turned(factors.a, rows: 2)),
      ]
    )
  }

  @Test(
    "embeddings have the rows of the base in their first factor, in both forms (seed 830)",
    arguments: AdapterExport.Target.allCases)
  func embeddings(target: AdapterExport.Target) throws {
    let (factors, tensors) = embedding(830)
    let expected = ExportedProduct(factors.a, factors.b, rank: 2, scale: 3)
    // The copy of the base that PEFT saves beside them is no part of the adapter.
    let copy = Toy(
      "base_model.model.model.embed_tokens.base_layer.weight", .f32, [10, 64],
      [Float](repeating: 0, count: 640))
    for more in [[], [copy]] {
      let use = try folder.use(Self.sources[0].factors, tensors + more)
      for isGGUF in [false, true] {
        let base =
          try isGGUF ? ExportModel.llama(in: scratch) : ExportModel.huggingFace(in: scratch)
        let name = "\(more.count)-\(isGGUF)" + (target == .gguf ? ".gguf" : "")
        let file = try export(use, of: base, for: target, to: name)
        #expect(file.model.catalog.tensors.count == 2 * ExportModel.weights.count)
        let found = try file.product(ExportModel.embedding, target)
        #expect(expected.error(of: found) <= 1e-6)
      }
    }
  }

  @Test(
    "an adapter of MLX, of llama.cpp, or one that a model carries is exported alike (seed 810)",
    arguments: ["mlx", "gguf", "attached"], AdapterExport.Target.allCases)
  func kinds(kind: String, target: AdapterExport.Target) throws {
    let source = Self.sources[0]
    let factors = zip(source.factors, ExportModel.layers).map { factors, weight in
      var factors = factors
      if kind == "gguf" {
        factors.path = weight.gguf
        factors.b = ExportModel.interleaved(factors.b, weight)
      }
      return factors
    }
    var base = try ExportModel.huggingFace(in: scratch)
    var file = try folder.adapter(AdapterKind(rawValue: kind) ?? .peft, factors, as: "one")
    if kind == "attached" {
      base = try folder.attach([AdapterUse(file)], names: ["one"], to: base, at: "both.pleat")
      file = try #require(try AdapterFile(attached: "one", in: base))
    }
    let exported = try export(AdapterUse(file), of: base, for: target)
    for (index, weight) in ExportModel.layers.enumerated() {
      let product = source.product(index)
      let expected = target == .gguf ? product.interleaved(weight) : product
      #expect(expected.error(of: try exported.product(weight, target)) <= 1e-6, "\(weight.gguf)")
    }
  }

  @Test("weights that the base stores transposed stay so, and the config says it (seed 831)")
  func transposed() throws {
    let factors = ToyFactors("h.0.attn", 10, 6, seed: 831)
    let base = try Models.make(
      [Toy("h.0.attn.weight", .f32, [6, 10], seed: 832)], in: scratch, as: "gpt2-hf.safetensors")
    let use = try folder.use([factors], [], "\"fan_in_fan_out\":true")
    let file = try export(use, of: base, for: .peft)
    #expect(file.config["fan_in_fan_out"] == true)
    let weight = ExportModel.Weight(huggingFace: "h.0.attn", gguf: "", height: 10, width: 6)
    let expected = ExportedProduct(factors.a, factors.b, rank: 2, scale: 3)
    #expect(expected.error(of: try file.product(weight, .peft)) <= 1e-6)
    // llama.cpp knows no transposed base: there the factors are those of the rows as stored.
    let gguf = try Models.make(
      [Toy("h.0.attn.weight", .f32, [6, 10], seed: 832)], in: scratch,
      metadata: [("general.architecture", "gpt2")], as: "gpt2.safetensors")
    let other = try export(use, of: gguf, for: .gguf)
    let stored = ExportModel.Weight(huggingFace: "", gguf: "h.0.attn", height: 6, width: 10)
    let turned = expected.turned(height: 10)
    #expect(turned.error(of: try other.product(stored, .gguf)) <= 1e-6)
  }

  // MARK: - Folding what was exported

  @Test(
    "folding the exported adapter is folding the original, to rounding (seed 810)",
    arguments: sources, AdapterExport.Target.allCases)
  func folding(source: Source, target: AdapterExport.Target) throws {
    let isGGUF = target == .gguf
    let base = try isGGUF ? ExportModel.llama(in: scratch) : ExportModel.huggingFace(in: scratch)
    let use = try use(source)
    let file = try export(use, of: base, for: target)
    let suffix = isGGUF ? "gguf" : "safetensors"
    let expected = try folder.fold([use], into: base, to: "expected.\(suffix)")
    let exported = AdapterUse(try AdapterFile.open(file.model.path))
    #expect(exported.file.adapter.pooling == nil)
    let found = try folder.fold([exported], into: base, to: "found.\(suffix)")
    for (index, weight) in ExportModel.layers.enumerated() {
      let name = (isGGUF ? weight.gguf : weight.huggingFace) + ".weight"
      let left = Numbers.floats(f32: try found.model.parts(name)[.values] ?? [])
      let right = Numbers.floats(f32: try expected.model.parts(name)[.values] ?? [])
      let product = source.product(index)
      let sizes = isGGUF ? product.interleaved(weight).sizes : product.sizes
      #expect(left.contains { $0 != 0 })
      let isClose = left.indices.allSatisfy {
        Double((left[$0] - right[$0]).magnitude) <= 1e-6 * sizes[$0]
      }
      #expect(isClose, "\(name)")
    }
  }
}
