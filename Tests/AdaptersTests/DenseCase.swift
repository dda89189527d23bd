import Adapters
import Architectures
import Bytes
import TensorModel
import Testing

/// An adapter for one tensor, together with a direct formula of what it adds.
struct DenseCase: Sendable, CustomTestStringConvertible {
  /// Term k of the sum at a row and a column of the base tensor.
  typealias Term = @Sendable (_ x: ToyNumbers, _ row: Int, _ column: Int, _ k: Int) -> Double

  var testDescription: String
  var adapter: ToyAdapter
  var base: BaseTensor
  var rank = 2
  /// The factor of the sum.
  var scale = 3.0
  var prefersTransposed = false
  var pooling: Pooling?
  var term: Term

  init(
    _ description: String, _ adapter: ToyAdapter, _ shape: [Int], name: String = "a.weight",
    term: @escaping Term
  ) {
    testDescription = description
    self.adapter = adapter
    base = BaseTensor(
      index: 7, info: TensorInfo(name: name, shape: .of(shape), encoding: .plain(.f32)))
    self.term = term
  }

  var rowCount: Int { base.info.shape.rowCount }
  var columnCount: Int { base.info.shape.columnCount }

  /// The change, paired with the base tensor.
  func change() throws(ModelError) -> PairedChange {
    let pairing = Pairing(
      [base], transposed: TransposedLayers(modelType: prefersTransposed ? "gpt_oss" : nil))
    return try pairing.pair(try adapter.read(), Pairing.Use(index: 0, pooling: pooling))[0]
  }

  func reader(_ numbers: ToyNumbers) -> UpdateReader {
    UpdateReader([(adapter.contents.tensors, numbers)])
  }

  /// What is added to an element, and the sum of the terms' magnitudes, which bounds the rounding.
  func element(_ numbers: ToyNumbers, _ row: Int, _ column: Int) -> (value: Double, size: Double) {
    let products = (0..<rank).map { scale * term(numbers, row, column, $0) }
    return (products.reduce(0, +), products.reduce(0) { $0 + $1.magnitude })
  }

  /// The allowed error of floats: roundings of the products, the additions and the scale.
  func tolerance(_ size: Double) -> Double { size * Double(rank + 4) * 0x1p-24 + 0x1p-140 }
}

extension DenseCase {
  /// Every layout of factors.
  static let all: [DenseCase] =
    [linear, transposed, embedding, pooled, square(false), square(true)] + experts
    + [mlx, mlxEmbedding, mlxExperts, gguf, ggufEmbedding, ggufExperts, interleaved, deinterleaved]

  private static let pair: [(name: String, shape: [Int])] = [
    ("a.lora_A.weight", [2, 8]), ("a.lora_B.weight", [6, 2]),
  ]

  static let linear = DenseCase("PEFT, linear", .peft(pair), [6, 8]) { x, row, column, k in
    x[1, row * 2 + k] * x[0, k * 8 + column]
  }

  private static let transposed = DenseCase(
    "PEFT, fan in fan out", .peft(pair, ["fan_in_fan_out": true]), [8, 6]
  ) { x, row, column, k in x[1, column * 2 + k] * x[0, k * 8 + row] }

  private static let embedding = DenseCase(
    "PEFT, embedding", .peft([("a.lora_embedding_A", [2, 9]), ("a.lora_embedding_B", [5, 2])]),
    [9, 5]
  ) { x, row, column, k in x[1, column * 2 + k] * x[0, k * 9 + row] }

  private static let pooled: DenseCase = {
    var pooled = DenseCase(
      "PEFT, pooled", .peft([("a.lora_A.weight", [2, 3]), ("a.lora_B.weight", [6, 2])]), [6, 48]
    ) { x, row, column, k in x[1, row * 2 + k] * x[0, k * 3 + column / 16] }
    (pooled.scale, pooled.pooling) = (3.0 / 16, .mean)
    return pooled
  }()

  /// 3 experts of rank 2: A is [experts · rank, inputs], B is [outputs, rank · experts].
  private static func stack(_ height: Int, _ width: Int) -> ToyAdapter {
    .peft(
      [("e.lora_A.weight", [6, width]), ("e.lora_B.weight", [height, 6])],
      ["target_parameters": ["e.up"], "peft_version": "0.20.0"])
  }

  private static let experts: [DenseCase] = [
    DenseCase("PEFT, experts", stack(4, 5), [3, 4, 5], name: "e.up") { x, row, column, k in
      let (expert, row) = (row / 4, row % 4)
      return x[1, row * 6 + k * 3 + expert] * x[0, (expert * 2 + k) * 5 + column]
    },
    DenseCase("PEFT, experts turned", stack(4, 5), [3, 5, 4], name: "e.up") { x, row, column, k in
      let (expert, row) = (row / 5, row % 5)
      return x[1, column * 6 + k * 3 + expert] * x[0, (expert * 2 + k) * 5 + row]
    },
  ]

  private static func square(_ isTransposed: Bool) -> DenseCase {
    var square = DenseCase(
      "PEFT, square experts, turned: \(isTransposed)", stack(4, 4), [3, 4, 4], name: "e.up"
    ) { x, row, column, k in
      let (expert, row) = (row / 4, row % 4)
      let (output, input) = isTransposed ? (column, row) : (row, column)
      return x[1, output * 6 + k * 3 + expert] * x[0, (expert * 2 + k) * 4 + input]
    }
    square.prefersTransposed = isTransposed
    return square
  }

  private static let mlx = DenseCase(
    "MLX, linear", .mlx([("a.lora_a", [8, 2]), ("a.lora_b", [2, 6])]), [6, 8]
  ) { x, row, column, k in x[0, column * 2 + k] * x[1, k * 6 + row] }

  private static let mlxEmbedding = DenseCase(
    "MLX, embedding", .mlx([("wte.lora_a", [9, 2]), ("wte.lora_b", [2, 5])]), [9, 5],
    name: "wte.weight"
  ) { x, row, column, k in x[0, row * 2 + k] * x[1, k * 5 + column] }

  private static let mlxExperts = DenseCase(
    "MLX, experts", .mlx([("a.lora_a", [3, 2, 5]), ("a.lora_b", [3, 4, 2])]), [3, 4, 5]
  ) { x, row, column, k in x[1, row * 2 + k] * x[0, (row / 4 * 2 + k) * 5 + column] }

  private static let gguf = DenseCase(
    "GGUF, linear", .gguf([("a.weight.lora_a", [2, 8]), ("a.weight.lora_b", [6, 2])]), [6, 8]
  ) { x, row, column, k in x[1, row * 2 + k] * x[0, k * 8 + column] }

  private static let ggufEmbedding = DenseCase(
    "GGUF, embedding",
    .gguf([("token_embd.weight.lora_a", [9, 2]), ("token_embd.weight.lora_b", [5, 2])]), [9, 5],
    name: "token_embd.weight"
  ) { x, row, column, k in x[0, row * 2 + k] * x[1, column * 2 + k] }

  private static let ggufExperts = DenseCase(
    "GGUF, experts", .gguf([("a.weight.lora_a", [3, 2, 5]), ("a.weight.lora_b", [3, 4, 2])]),
    [3, 4, 5]
  ) { x, row, column, k in x[1, row * 2 + k] * x[0, (row / 4 * 2 + k) * 5 + column] }

  // Two heads of six rows: heads × 3 × 2 in the base tensor, heads × 2 × 3 in the adapter.
  private static let interleaved: DenseCase = {
    var base = DenseCase(
      "PEFT, base with rows interleaved",
      .peft([("q.lora_A.weight", [2, 8]), ("q.lora_B.weight", [12, 2])]), [12, 8], name: "attn_q"
    ) { x, row, column, k in
      let own = row / 6 * 6 + row % 2 * 3 + row % 6 / 2
      return x[1, own * 2 + k] * x[0, k * 8 + column]
    }
    base.base.alias = "q.weight"
    base.base.aliasRows = map(fromInterleaved: true)
    return base
  }()

  private static let deinterleaved: DenseCase = {
    var base = DenseCase(
      "GGUF, base of Hugging Face",
      .gguf([("attn_q.weight.lora_a", [2, 8]), ("attn_q.weight.lora_b", [12, 2])]), [12, 8],
      name: "q.weight"
    ) { x, row, column, k in
      let own = row / 6 * 6 + row % 3 * 2 + row % 6 / 3
      return x[1, own * 2 + k] * x[0, k * 8 + column]
    }
    base.base.alias = "attn_q.weight"
    base.base.aliasRows = map(fromInterleaved: false)
    return base
  }()

  static func map(fromInterleaved: Bool) -> RowMap? {
    RotaryRowOrder(headCount: 2, headSize: 6).map { RowMap($0, fromInterleaved: fromInterleaved) }
  }
}
