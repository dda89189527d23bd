internal import Architectures
internal import Kernels
internal import TensorModel

/// The weights of one layer.
///
/// Vectors are in memory; matrices are read when they are used.
package struct DecoderLayer: Sendable {
  let inputNorm: RowNorm?
  let queries: Linear
  let keys: Linear
  let values: Linear
  let queryNorm: RowNorm?
  let keyNorm: RowNorm?
  let output: Linear
  let attentionNorm: RowNorm?
  let feedForwardInputNorm: RowNorm?
  let network: FeedForward?
  let experts: Experts?
  let feedForwardNorm: RowNorm?

  /// A feed-forward network: down(f(gate x) · up x), or down(f(up x)) without a gate.
  struct FeedForward: Sendable {
    var gate: Linear?
    var up: Linear
    var down: Linear
  }

  /// The experts of a layer.
  struct Experts: Sendable {
    var router: Linear
    /// What is added to the scores by which experts are chosen; nil for nothing.
    var corrections: [Float]?
    var networks: [FeedForward]
    /// The network that all tokens use; nil if there is none.
    var shared: FeedForward?
    /// What the output of that network is multiplied by, through a sigmoid; nil for nothing.
    var sharedGate: Linear?
  }

  /// The largest inner width of its feed-forward networks.
  var innerWidth: Int {
    let networks = [network, experts?.shared, experts?.networks.first].compactMap { $0 }
    return networks.map { $0.down.matrix.columnCount }.max() ?? 0
  }

  /// Finds the weights of a layer.
  ///
  /// Throws `malformed` for one that is missing or has another shape, `unsupported` for one that
  /// Pleat does not decode, and what reading throws.
  init(_ number: Int, of weights: NetworkWeights, _ shape: DecoderShape) throws(ModelError) {
    let finder = Finder(prefix: "blk.\(number).", weights: weights, shape: shape)
    let head = shape.headSize
    let (rows, others) = (shape.headCount * head, shape.keyValueHeadCount * head)
    inputNorm = try finder.norm("attn_norm", shape.width)
    if weights.has(finder.name("attn_qkv.weight")) {
      queries = try finder.linear("attn_qkv", rows: 0..<rows, shape.width)
      keys = try finder.linear("attn_qkv", rows: rows..<rows + others, shape.width)
      values = try finder.linear("attn_qkv", rows: rows + others..<rows + 2 * others, shape.width)
    } else {
      queries = try finder.linear("attn_q", rows, shape.width)
      keys = try finder.linear("attn_k", others, shape.width)
      values = try finder.linear("attn_v", others, shape.width)
    }
    queryNorm = try finder.norm("attn_q_norm", shape.normsAllHeads ? rows : head)
    keyNorm = try finder.norm("attn_k_norm", shape.normsAllHeads ? others : head)
    output = try finder.linear("attn_output", shape.width, rows)
    feedForwardInputNorm = try finder.norm(shape.feedForwardNorm, shape.width)
    let isBefore = shape.feedForwardNorm == "post_attention_norm"
    attentionNorm = isBefore ? nil : try finder.norm("post_attention_norm", shape.width)
    feedForwardNorm = try finder.norm("post_ffw_norm", shape.width)
    // The first layers may have none.
    let hasRouter = weights.has(finder.name("ffn_gate_inp.weight"))
    experts = try shape.experts.flatMap { sizes throws(ModelError) in
      hasRouter ? try finder.experts(sizes) : nil
    }
    network = experts == nil ? try finder.network() : nil
  }
}

/// Finds the weights of a layer by their names in it.
private struct Finder {
  let prefix: String
  let weights: NetworkWeights
  let shape: DecoderShape

  func name(_ rest: String) -> String { prefix + rest }

  func norm(_ stem: String, _ count: Int) throws(ModelError) -> RowNorm? {
    try weights.norm(prefix + stem, count, shape)
  }

  func linear(_ stem: String, _ rows: Int, _ columns: Int) throws(ModelError) -> Linear {
    try weights.linear(prefix + stem, rows: rows, columns: columns)
  }

  /// Some outputs of a matrix that computes several things.
  func linear(_ stem: String, rows: Range<Int>, _ columns: Int) throws(ModelError) -> Linear {
    let matrix = try weights.matrix(prefix + stem + ".weight", rows: rows)
    try weights.check(matrix, rows: rows.count, columns: columns)
    let bias = try weights.vector(prefix + stem + ".bias")
    guard bias.map({ $0.count >= rows.upperBound }) ?? true else {
      throw ModelError(.malformed, "the bias is too short", tensor: prefix + stem + ".bias")
    }
    return Linear(
      name: prefix + stem + ".weight", matrix: matrix, bias: bias.map { Array($0[rows]) })
  }

  func network() throws(ModelError) -> DecoderLayer.FeedForward {
    let down = try weights.matrix(prefix + "ffn_down.weight")
    let inner = down.columnCount
    let linear = try linear("ffn_down", shape.width, inner)
    if weights.has(name("ffn_gate.weight")) {
      return .init(
        gate: try self.linear("ffn_gate", inner, shape.width),
        up: try self.linear("ffn_up", inner, shape.width), down: linear)
    }
    let up = try weights.matrix(prefix + "ffn_up.weight")
    guard up.rowCount == 2 * inner else {
      return .init(gate: nil, up: try self.linear("ffn_up", inner, shape.width), down: linear)
    }
    return .init(
      gate: try self.linear("ffn_up", rows: 0..<inner, shape.width),
      up: try self.linear("ffn_up", rows: inner..<2 * inner, shape.width), down: linear)
  }

  func experts(_ sizes: DecoderShape.Experts) throws(ModelError) -> DecoderLayer.Experts {
    var networks: [DecoderLayer.FeedForward] = []
    for index in 0..<sizes.count {
      func part(_ stem: String) throws(ModelError) -> Linear {
        Linear(
          name: prefix + stem + ".weight",
          matrix: try weights.matrix(
            prefix + stem + ".weight", expert: index, expertCount: sizes.count))
      }
      let network = DecoderLayer.FeedForward(
        gate: try part("ffn_gate_exps"), up: try part("ffn_up_exps"),
        down: try part("ffn_down_exps"))
      let inner = network.down.matrix.columnCount
      for linear in [network.gate, network.up] {
        guard let linear else { continue }
        try weights.check(linear.matrix, rows: inner, columns: shape.width)
      }
      try weights.check(network.down.matrix, rows: shape.width, columns: inner)
      networks.append(network)
    }
    let corrections = try ["exp_probs_b.bias", "exp_probs_b"].first { weights.has(name($0)) }
      .flatMap { stem throws(ModelError) in try weights.vector(name(stem)) }
    guard corrections.map({ $0.count == sizes.count }) ?? true else {
      throw ModelError(
        .malformed, "there is not one correction for each expert", tensor: name("exp_probs_b"),
        expected: "\(sizes.count)", found: "\(corrections?.count ?? 0)")
    }
    var experts = DecoderLayer.Experts(
      router: try linear("ffn_gate_inp", sizes.count, shape.width), corrections: corrections,
      networks: networks)
    guard weights.has(name("ffn_up_shexp.weight")) else { return experts }
    let inner = try weights.matrix(prefix + "ffn_down_shexp.weight").columnCount
    experts.shared = .init(
      gate: try linear("ffn_gate_shexp", inner, shape.width),
      up: try linear("ffn_up_shexp", inner, shape.width),
      down: try linear("ffn_down_shexp", shape.width, inner))
    guard weights.has(name("ffn_gate_inp_shexp.weight")) else { return experts }
    experts.sharedGate = try linear("ffn_gate_inp_shexp", 1, shape.width)
    return experts
  }
}

extension NetworkWeights {
  /// A norm; nil if the model lacks it.
  func norm(_ stem: String, _ count: Int, _ shape: DecoderShape) throws(ModelError) -> RowNorm? {
    guard let weights = try vector(stem + ".weight") else { return nil }
    let biases = try vector(stem + ".bias")
    for (name, vector) in [(".weight", weights), (".bias", biases ?? weights)] {
      guard vector.count == count else {
        throw ModelError(
          .malformed, "the norm has another size than the config states", tensor: stem + name,
          expected: "\(count)", found: "\(vector.count)")
      }
    }
    return RowNorm(
      subtractsMean: shape.normSubtractsMean, epsilon: shape.normEpsilon, weights: weights,
      addend: shape.normAddend, biases: biases)
  }

  /// A matrix of a size, with its bias if there is one.
  func linear(_ stem: String, rows: Int, columns: Int) throws(ModelError) -> Linear {
    let matrix = try matrix(stem + ".weight")
    try check(matrix, rows: rows, columns: columns)
    let bias = try vector(stem + ".bias")
    guard bias.map({ $0.count == rows }) ?? true else {
      throw ModelError(
        .malformed, "the bias has another size than its matrix", tensor: stem + ".bias",
        expected: "\(rows)", found: "\(bias?.count ?? 0)")
    }
    return Linear(name: stem + ".weight", matrix: matrix, bias: bias)
  }

  /// Throws `malformed` for a matrix of another size.
  func check(_ matrix: WeightMatrix, rows: Int, columns: Int) throws(ModelError) {
    guard matrix.rowCount == rows, matrix.columnCount == columns else {
      throw ModelError(
        .malformed, "the matrix has another shape than the config states", tensor: matrix.name,
        expected: "\(rows)×\(columns)", found: "\(matrix.rowCount)×\(matrix.columnCount)")
    }
  }
}
