import Adapters
import Bytes
import Formats
import Pleat
import TestSupport
import Testing

/// Exported adapters change every weight as the original does.
@Suite struct ExportTests {
  let folder: Folder
  private var scratch: Scratch { folder.scratch }

  init() throws { folder = try Folder() }

  /// An adapter for the layers of a small llama, with the product that it adds.
  struct Source: Sendable, CustomTestStringConvertible {
    var name: String
    /// Further members of the PEFT config.
    var config = ""
    var pooling: Pooling?
    /// The rank of the layer at an index.
    var rank: @Sendable (Int) -> Int = { _ in 2 }
    /// The scale of the layer at an index: alpha / rank, or alpha / √rank for rsLoRA.
    var scale: @Sendable (Int) -> Double = { _ in 3 }
    /// The scale that the user sets.
    var strength = 1.0

    var testDescription: String { name }

    /// The number of columns of the base model for each column of A.
    var groupSize: Int { pooling == nil ? 1 : 32 }

    var factors: [ToyFactors] {
      ExportModel.layers.enumerated().map { index, weight in
        ToyFactors(
          weight.huggingFace, weight.height, weight.width / groupSize, rank: rank(index),
          seed: 810 + UInt64(index))
      }
    }

    /// The product for the layer at an index, with the row order of Hugging Face.
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
    Source(name: "LoRA with scale -1/3", strength: -1.0 / 3),
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

  private func applied(_ source: Source) throws -> AppliedAdapter {
    try folder.applied(
      source.factors, [], source.config, scale: source.strength,
      pooling: source.config.contains("qalora") ? nil : source.pooling)
  }

  private func export(
    _ applied: AppliedAdapter, of model: Model, for target: AdapterExport.Target,
    to name: String? = nil
  ) throws -> ExportedFile {
    let path = scratch.path(name ?? (target == .gguf ? "out.gguf" : "out"))
    let export = try AdapterExport(applied, of: model, for: target, to: path)
    let written = try export.write(replacing: false).byteCount
    let file = try ExportedFile(path, target)
    let config = target == .peft ? try Files.byteCount(of: path + "/adapter_config.json") : 0
    #expect(written == export.byteCount)
    #expect(file.model.byteCount + config == written)
    #expect(file.alpha == export.alpha)
    return file
  }

  @Test(
    "(alpha / rank) · B · A of an export is what the adapter adds (seed 810)",
    arguments: sources, AdapterExport.Target.allCases)
  func products(source: Source, target: AdapterExport.Target) throws {
    for isGGUF in [false, true] {
      let base = try isGGUF ? ExportModel.llama(in: scratch) : ExportModel.huggingFace(in: scratch)
      let name = "\(isGGUF)" + (target == .gguf ? ".gguf" : "")
      let file = try export(try applied(source), of: base, for: target, to: name)
      #expect(file.model.catalog.tensors.count == 2 * ExportModel.layers.count)
      for (index, weight) in ExportModel.layers.enumerated() {
        let product = source.product(index)
        let expected = target == .gguf ? product.interleaved(weight) : product
        let error = expected.error(of: try file.product(weight, target))
        #expect(error <= 1e-6, "\(weight.gguf) in \(base.format.name)")
      }
    }
  }

  @Test("factors of plain LoRA are exported without a change (seed 810)")
  func untouched() throws {
    let source = Self.sources[0]
    let base = try ExportModel.huggingFace(in: scratch)
    let peft = try export(try applied(source), of: base, for: .peft)
    let gguf = try export(try applied(source), of: base, for: .gguf)
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

  @Test("each column of a pooled A is repeated for all columns of its group (seed 810)")
  func repeated() throws {
    let source = Self.sources[6]
    let file = try export(
      try applied(source), of: try ExportModel.huggingFace(in: scratch), for: .peft)
    for (factors, weight) in zip(source.factors, ExportModel.layers) {
      let a = try file.tensor("base_model.model.\(weight.huggingFace).lora_A.weight")
      #expect(a.shape == [2, weight.width])
      let wanted = factors.a.flatMap { [Float](repeating: $0, count: 32) }
      #expect(a.values.bits == wanted.bits)
    }
  }

  // MARK: - Embeddings, other kinds, transposed weights

  /// An adapter of the embeddings as PEFT stores it: Aᵀ has the rows of the base model.
  private func embedding(_ seed: UInt64) -> (factors: ToyFactors, tensors: [Toy]) {
    let weight = ExportModel.embedding
    let factors = ToyFactors("x", weight.height, weight.width, seed: seed)
    let prefix = "base_model.model.\(weight.huggingFace)"
    return (
      factors,
      [
        Toy(
          "\(prefix).lora_embedding_A", .f32, [2, weight.height],
          ToyFactors.transposed(factors.b, rows: weight.height)),
        Toy(
          "\(prefix).lora_embedding_B", .f32, [weight.width, 2],
          ToyFactors.transposed(factors.a, rows: 2)),
      ]
    )
  }

  @Test(
    "the first factor of embeddings has the rows of the base model (seed 830)",
    arguments: AdapterExport.Target.allCases)
  func embeddings(target: AdapterExport.Target) throws {
    let (factors, tensors) = embedding(830)
    let expected = ExportedProduct(factors.a, factors.b, rank: 2, scale: 3)
    // PEFT also saves a copy of the base embeddings. It is not part of the adapter.
    let copy = Toy(
      "base_model.model.model.embed_tokens.base_layer.weight", .f32, [10, 64],
      [Float](repeating: 0, count: 640))
    for more in [[], [copy]] {
      let applied = try folder.applied(Self.sources[0].factors, tensors + more)
      for isGGUF in [false, true] {
        let base =
          try isGGUF ? ExportModel.llama(in: scratch) : ExportModel.huggingFace(in: scratch)
        let name = "\(more.count)-\(isGGUF)" + (target == .gguf ? ".gguf" : "")
        let file = try export(applied, of: base, for: target, to: name)
        #expect(file.model.catalog.tensors.count == 2 * ExportModel.weights.count)
        let found = try file.product(ExportModel.embedding, target)
        #expect(expected.error(of: found) <= 1e-6)
      }
    }
  }

  @Test(
    "MLX, llama.cpp and attached adapters are exported like PEFT adapters (seed 810)",
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
      base = try folder.attach([AppliedAdapter(file)], names: ["one"], to: base, at: "both.pleat")
      file = try #require(try AdapterFile(attached: "one", in: base))
    }
    let exported = try export(AppliedAdapter(file), of: base, for: target)
    for (index, weight) in ExportModel.layers.enumerated() {
      let product = source.product(index)
      let expected = target == .gguf ? product.interleaved(weight) : product
      #expect(expected.error(of: try exported.product(weight, target)) <= 1e-6, "\(weight.gguf)")
    }
  }

  @Test("a transposed base weight sets fan_in_fan_out in the config (seed 831)")
  func transposed() throws {
    let factors = ToyFactors("h.0.attn", 10, 6, seed: 831)
    let base = try Models.make(
      [Toy("h.0.attn.weight", .f32, [6, 10], seed: 832)], in: scratch, as: "gpt2-hf.safetensors")
    let applied = try folder.applied([factors], [], "\"fan_in_fan_out\":true")
    let file = try export(applied, of: base, for: .peft)
    #expect(file.config["fan_in_fan_out"] == true)
    let weight = ExportModel.Weight(huggingFace: "h.0.attn", gguf: "", height: 10, width: 6)
    let expected = ExportedProduct(factors.a, factors.b, rank: 2, scale: 3)
    #expect(expected.error(of: try file.product(weight, .peft)) <= 1e-6)
    // llama.cpp has no transposed weights. Its factors are those of the rows as stored.
    let gguf = try Models.make(
      [Toy("h.0.attn.weight", .f32, [6, 10], seed: 832)], in: scratch,
      metadata: [("general.architecture", "gpt2")], as: "gpt2.safetensors")
    let other = try export(applied, of: gguf, for: .gguf)
    let stored = ExportModel.Weight(huggingFace: "", gguf: "h.0.attn", height: 6, width: 10)
    let transposed = expected.transposed(height: 10)
    #expect(transposed.error(of: try other.product(stored, .gguf)) <= 1e-6)
  }

  // MARK: - Folding an exported adapter

  @Test(
    "folding an exported adapter equals folding the original, up to rounding (seed 810)",
    arguments: sources, AdapterExport.Target.allCases)
  func folding(source: Source, target: AdapterExport.Target) throws {
    let isGGUF = target == .gguf
    let base = try isGGUF ? ExportModel.llama(in: scratch) : ExportModel.huggingFace(in: scratch)
    let applied = try applied(source)
    let file = try export(applied, of: base, for: target)
    let suffix = isGGUF ? "gguf" : "safetensors"
    let expected = try folder.fold([applied], into: base, to: "expected.\(suffix)")
    let exported = AppliedAdapter(try AdapterFile.open(file.model.path))
    #expect(exported.file.adapter.pooling == nil)
    let found = try folder.fold([exported], into: base, to: "found.\(suffix)")
    for (index, weight) in ExportModel.layers.enumerated() {
      let name = (isGGUF ? weight.gguf : weight.huggingFace) + ".weight"
      let left = Numbers.floats(f32: try found.model.part(.values, of: name))
      let right = Numbers.floats(f32: try expected.model.part(.values, of: name))
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
