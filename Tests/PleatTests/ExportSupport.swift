import Adapters
import Bytes
import Formats
import Pleat
import TestSupport

/// The weights of a small llama, under their names in Hugging Face and llama.cpp.
struct ExportModel {
  /// A weight; queries and keys have 6 rows per head, which llama.cpp interleaves.
  struct Weight: Sendable {
    var huggingFace: String
    var gguf: String
    var height: Int
    var width: Int
  }

  static let weights = [
    Weight(huggingFace: "model.embed_tokens", gguf: "token_embd", height: 10, width: 64),
    Weight(
      huggingFace: "model.layers.3.self_attn.q_proj", gguf: "blk.3.attn_q", height: 24, width: 64),
    Weight(
      huggingFace: "model.layers.3.self_attn.k_proj", gguf: "blk.3.attn_k", height: 12, width: 64),
    Weight(
      huggingFace: "model.layers.3.mlp.down_proj", gguf: "blk.3.ffn_down", height: 20, width: 128),
    Weight(
      huggingFace: "model.layers.4.mlp.down_proj", gguf: "blk.4.ffn_down", height: 20, width: 128),
  ]
  static let embedding = weights[0]
  /// All weights but the embedding.
  static let layers = Array(weights.dropFirst())

  private static let config = """
    {"model_type":"llama","num_attention_heads":4,"num_key_value_heads":2,"head_dim":6,
    "hidden_size":64}
    """

  /// The row in Hugging Face order that llama.cpp stores at `row`.
  static func huggingFaceRow(_ row: Int, _ weight: Weight) -> Int {
    guard weight.gguf.hasSuffix("attn_q") || weight.gguf.hasSuffix("attn_k") else { return row }
    return row / 6 * 6 + row % 2 * 3 + row % 6 / 2
  }

  /// Rows of Hugging Face, reordered as in llama.cpp.
  static func interleaved<Number>(_ values: [Number], _ weight: Weight) -> [Number] {
    let columns = values.count / weight.height
    return (0..<weight.height).flatMap { row in
      values[huggingFaceRow(row, weight) * columns..<(huggingFaceRow(row, weight) + 1) * columns]
    }
  }

  /// The Hugging Face model: the weights are zero, and there are two more tensors.
  static func huggingFace(in scratch: Scratch, config: String = config) throws -> Model {
    let others = ["model.layers.3.mlp.up_proj", "lm_head"].map {
      Toy("\($0).weight", .f32, [2, 64], seed: 800)
    }
    let tensors = weights.map { weight in
      Toy(
        "\(weight.huggingFace).weight", .f32, [weight.height, weight.width],
        [Float](repeating: 0, count: weight.height * weight.width))
    }
    try scratch.write(ToyFiles.safetensors(tensors + others), as: "hf/model.safetensors")
    try scratch.write(config, as: "hf/config.json")
    return try Model.open(scratch.path("hf"))
  }

  /// The llama.cpp model; all weights are zero.
  static func llama(in scratch: Scratch) throws -> Model {
    let head = Toy("output.weight", .f32, [2, 64], seed: 801)
    let toys = weights.map { weight in
      let zeros = [Float](repeating: 0, count: weight.height * weight.width)
      return Toy("\(weight.gguf).weight", .f32, [weight.height, weight.width], zeros)
    }
    let tensors = (toys + [head]).map { ($0, typeNumber: UInt32(0)) }
    let counts: [(String, UInt32)] = [
      ("llama.attention.head_count", 4), ("llama.attention.head_count_kv", 2),
      ("llama.attention.key_length", 6), ("llama.embedding_length", 64),
    ]
    return try Model.open(
      try scratch.write(ToyFiles.gguf(tensors, counts: counts), as: "base.gguf"))
  }
}

/// A matrix that an adapter adds, with the sum of the magnitudes of the terms of each element.
struct ExportedProduct {
  var values: [Double]
  var sizes: [Double]

  /// scale · B · A, where each column of A is repeated `repeats` times.
  init(_ a: [Float], _ b: [Float], rank: Int, scale: Double, repeats: Int = 1) {
    let (height, width) = (b.count / rank, a.count / rank)
    values = []
    sizes = []
    for row in 0..<height {
      for column in 0..<width * repeats {
        let terms = (0..<rank).map {
          scale * Double(b[row * rank + $0]) * Double(a[$0 * width + column / repeats])
        }
        values.append(terms.reduce(0, +))
        sizes.append(terms.reduce(0) { $0 + $1.magnitude })
      }
    }
  }

  private init(values: [Double], sizes: [Double]) {
    (self.values, self.sizes) = (values, sizes)
  }

  /// The matrix with its rows in the order of llama.cpp.
  func interleaved(_ weight: ExportModel.Weight) -> ExportedProduct {
    ExportedProduct(
      values: ExportModel.interleaved(values, weight), sizes: ExportModel.interleaved(sizes, weight)
    )
  }

  /// The transposed matrix.
  func transposed(height: Int) -> ExportedProduct {
    func transposed(_ numbers: [Double]) -> [Double] {
      let width = numbers.count / height
      return (0..<width).flatMap { column in (0..<height).map { numbers[$0 * width + column] } }
    }
    return ExportedProduct(values: transposed(values), sizes: transposed(sizes))
  }

  /// The largest difference from another matrix, relative to the magnitudes of the terms.
  func error(of other: ExportedProduct) -> Double {
    guard other.values.count == values.count else { return .infinity }
    return values.indices.map { index in
      let error = (other.values[index] - values[index]).magnitude
      return error == 0 ? 0 : error / sizes[index]
    }.max() ?? 0
  }
}

/// An exported adapter, read as its runtime reads it.
struct ExportedFile {
  let model: Model
  /// The alpha of the metadata or the config.
  let alpha: Double
  /// The PEFT config; null for a GGUF file.
  let config: JSONValue

  /// Opens an adapter that was exported for a target.
  init(_ path: String, _ target: AdapterExport.Target) throws {
    model = try Model.open(path)
    switch target {
    case .gguf:
      config = .null
      guard case .float(let alpha)? = model.catalog.metadata["adapter.lora.alpha"] else {
        throw ModelError(.malformed, "no alpha of 32 bits")
      }
      self.alpha = Double(alpha)
    case .peft:
      config = try JSONParser.parse(try Files.bytes(of: path + "/adapter_config.json"), file: path)
      guard let alpha = config["lora_alpha"]?.double else {
        throw ModelError(.malformed, "no alpha")
      }
      self.alpha = alpha
    }
  }

  /// The numbers and the shape of a tensor.
  func tensor(_ name: String) throws -> (values: [Float], shape: [Int]) {
    guard let index = model.index(of: name) else {
      throw ModelError(.malformed, "no such tensor", tensor: name)
    }
    let info = model.catalog.tensors[index]
    guard info.encoding == .plain(.f32) else {
      throw ModelError(.malformed, "not F32", tensor: name)
    }
    return (
      Numbers.floats(f32: try model.part(.values, of: name)), info.shape.dimensions
    )
  }

  /// (alpha / rank) · B · A of a weight, as llama.cpp and PEFT compute it.
  func product(_ weight: ExportModel.Weight, _ target: AdapterExport.Target) throws
    -> ExportedProduct
  {
    let isEmbedding = weight.gguf == "token_embd"
    let names: [String]
    switch target {
    case .gguf: names = ["a", "b"].map { "\(weight.gguf).weight.lora_\($0)" }
    case .peft:
      names = ["A", "B"].map {
        "base_model.model.\(weight.huggingFace)."
          + (isEmbedding ? "lora_embedding_\($0)" : "lora_\($0).weight")
      }
    }
    let (a, b) = (try tensor(names[0]), try tensor(names[1]))
    // For embeddings, both store Aᵀ and Bᵀ. The A of PEFT has the rank as its first dimension.
    let rank = target == .gguf && isEmbedding ? a.shape[1] : a.shape[0]
    guard b.shape[1] == rank else { throw ModelError(.malformed, "the ranks differ") }
    if target == .peft { try checkRank(rank, of: weight.huggingFace) }
    let scale = alpha / Double(rank)
    guard isEmbedding else {
      return ExportedProduct(a.values, b.values, rank: rank, scale: scale)
    }
    let rows =
      target == .gguf ? a.values : ToyFactors.transposed(a.values, rows: rank)
    return ExportedProduct(
      ToyFactors.transposed(b.values, rows: weight.width), rows, rank: rank, scale: scale)
  }

  /// Throws unless the config states this rank for a module.
  private func checkRank(_ rank: Int, of path: String) throws {
    let escaped = path.split(separator: ".").joined(separator: "\\.")
    let found = config["rank_pattern"]?[escaped]?.int ?? config["r"]?.int
    guard found == rank else { throw ModelError(.malformed, "another rank", tensor: path) }
  }
}
