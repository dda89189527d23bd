internal import Architectures
internal import Bytes
internal import Kernels
internal import TensorModel

/// The weights of one layer.
///
/// Vectors are in memory; matrices are read when they are used.
package struct DecoderLayer: Sendable {
  let inputNorm: RowNorm?
  let mixer: Mixer
  let attentionNorm: RowNorm?
  let feedForwardInputNorm: RowNorm?
  /// The function of the feed-forward network, if its numbers belong to the layer.
  let unit: ExpandedUnit?
  let network: FeedForward?
  let experts: Experts?
  let feedForwardNorm: RowNorm?
  /// How the layer uses inputs of its own; nil without them.
  let inputs: LayerInputs?
  /// What all numbers are multiplied by after the layer; nil for nothing.
  let scale: Float?
  /// How the layer changes several states of a token; nil for one state.
  let updates: UpdateWeights?
  /// A way around attention; nil without it.
  let bypass: BypassWeights?

  /// What brings the numbers of other tokens to a token.
  enum Mixer: Sendable {
    case attention(AttentionWeights)
    case latent(LatentWeights)
    case convolution(ConvolutionWeights)
    case deltaNet(DeltaNetWeights, Recurrence)
    case stateSpace(StateSpaceWeights, Recurrence)
    /// Both see the same inputs, and their outputs are added.
    case attentionAndStates(AttentionWeights, StateSpaceWeights, Recurrence)
    case nothing
  }

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
    /// What the weights of each expert are multiplied by; nil for nothing.
    var scales: [Float]?
    /// Norms of experts beside the network of the layer; nil for experts in its place.
    var branchNorms: BranchNorms?
  }

  /// The norms of experts whose outputs are added to those of the network of the layer:
  /// network(output of the network) + output(experts(input(h))), chosen by router(h).
  struct BranchNorms: Sendable {
    var network: RowNorm
    var input: RowNorm
    var router: RowNorm
    var output: RowNorm
  }

  /// How a layer uses inputs of its own: norm(projection(f(gate h) · inputs)).
  struct LayerInputs: Sendable {
    var gate: Linear
    var projection: Linear
    var norm: RowNorm?
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
    let finder = LayerFinder(prefix: "blk.\(number).", weights: weights, shape: shape)
    inputNorm = try finder.hiddenNorm("attn_norm")
    let place = shape.layers[number]
    mixer = try finder.mixer(place)
    let stem = shape.kind.feedForwardNorm
    feedForwardInputNorm = try finder.hiddenNorm(stem)
    let isBefore = stem == "post_attention_norm"
    attentionNorm = isBefore ? nil : try finder.norm("post_attention_norm", shape.width)
    feedForwardNorm = try finder.norm("post_ffw_norm", shape.width)
    unit = shape.activation == nil ? try weights.unit(ofLayer: number) : nil
    // The first layers may have none.
    let hasRouter = weights.has(finder.name("ffn_gate_inp.weight"))
    experts = try shape.experts.flatMap { sizes throws(ModelError) in
      hasRouter ? try finder.experts(sizes) : nil
    }
    let hasNetwork = place.hasNetwork && (experts == nil || experts?.branchNorms != nil)
    network = hasNetwork ? try finder.network() : nil
    inputs = shape.layerInputWidth > 0 ? try finder.inputs(shape.layerInputWidth) : nil
    scale = try finder.scale()
    updates = shape.kind.alternatesUpdates ? try finder.updates() : nil
    bypass = shape.kind.alternatesUpdates ? try finder.bypass() : nil
  }
}

/// Finds the weights of a layer by their names in it.
struct LayerFinder {
  let prefix: String
  let weights: NetworkWeights
  let shape: DecoderShape

  func name(_ rest: String) -> String { prefix + rest }

  func norm(_ stem: String, _ count: Int) throws(ModelError) -> RowNorm? {
    try weights.norm(prefix + stem, count, shape)
  }

  /// The norm of hidden numbers before a part of the layer; nil if there is none.
  func hiddenNorm(_ stem: String) throws(ModelError) -> RowNorm? {
    shape.kind.lacksNormWeights ? shape.plainNorm : try norm(stem, shape.width)
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

  /// A matrix of each of some experts or heads, which are one tensor or several.
  ///
  /// `part` is the part of the rows of each, if it computes several things.
  func stack(
    _ stem: String, _ count: Int, rows: Int? = nil, columns: Int? = nil,
    part: (index: Int, count: Int) = (0, 1)
  ) throws(ModelError) -> [Linear] {
    let biases = try weights.vector(prefix + stem + ".bias")
    var linears: [Linear] = []
    for index in 0..<count {
      let name = prefix + stem + ".weight"
      let matrix = try weights.matrix(name, expert: index, expertCount: count, part: part)
      try weights.check(
        matrix, rows: rows ?? matrix.rowCount, columns: columns ?? matrix.columnCount)
      linears.append(Linear(name: name, matrix: matrix, bias: nil))
      guard let biases else { continue }
      let length = matrix.rowCount
      guard biases.count == count * length else {
        throw ModelError(
          .malformed, "the biases have another size than their matrices",
          tensor: prefix + stem + ".bias", expected: "\(count * length)", found: "\(biases.count)")
      }
      linears[index].bias = Array(biases[index * length..<(index + 1) * length])
    }
    return linears
  }

  /// What brings the numbers of other tokens to a token.
  ///
  /// Throws `malformed` for a weight that is missing or has another shape.
  func mixer(_ place: DecoderShape.Layer) throws(ModelError) -> DecoderLayer.Mixer {
    if let size = place.convolutionSize { return .convolution(try convolution(size)) }
    if place.hasStates, let sizes = shape.recurrence {
      if sizes.head.corrects { return .deltaNet(try deltaNet(sizes), sizes) }
      let states = try stateSpace(sizes)
      return place.hasAttention
        ? .attentionAndStates(try attention(place), states, sizes) : .stateSpace(states, sizes)
    }
    guard place.hasAttention else { return .nothing }
    if let sizes = shape.latent { return .latent(try latent(sizes, headCount: place.heads.count)) }
    return .attention(try attention(place))
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
    let down = try stack("ffn_down_exps", sizes.count, rows: shape.width)
    let inner = down[0].matrix.columnCount
    let fused = "ffn_gate_up_exps"
    let isFused = weights.has(name(fused + ".weight"))
    let gates =
      isFused || weights.has(name("ffn_gate_exps.weight"))
      ? try stack(
        isFused ? fused : "ffn_gate_exps", sizes.count, rows: inner, columns: shape.width,
        part: isFused ? (0, 2) : (0, 1)) : nil
    let ups = try stack(
      isFused ? fused : "ffn_up_exps", sizes.count, rows: inner, columns: shape.width,
      part: isFused ? (1, 2) : (0, 1))
    let networks = (0..<sizes.count).map {
      DecoderLayer.FeedForward(gate: gates?[$0], up: ups[$0], down: down[$0])
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
    experts.scales = try scales(sizes.count)
    experts.branchNorms = try branchNorms()
    guard weights.has(name("ffn_up_shexp.weight")) else { return experts }
    let sharedInner = try weights.matrix(prefix + "ffn_down_shexp.weight").columnCount
    experts.shared = .init(
      gate: weights.has(name("ffn_gate_shexp.weight"))
        ? try linear("ffn_gate_shexp", sharedInner, shape.width) : nil,
      up: try linear("ffn_up_shexp", sharedInner, shape.width),
      down: try linear("ffn_down_shexp", shape.width, sharedInner))
    guard weights.has(name("ffn_gate_inp_shexp.weight")) else { return experts }
    experts.sharedGate = try linear("ffn_gate_inp_shexp", 1, shape.width)
    return experts
  }
}

extension NetworkWeights {
  /// A norm; nil if the model lacks it.
  func norm(_ stem: String, _ count: Int, _ shape: DecoderShape) throws(ModelError) -> RowNorm? {
    // llama.cpp has one name without the ending.
    let whole = has(stem + ".weight") ? stem + ".weight" : stem
    guard let weights = try vector(whole) else { return nil }
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

  /// The function of a layer whose numbers belong to it.
  ///
  /// The model stores the inverse softplus of two of them. Throws `malformed` if one is missing.
  func unit(ofLayer layer: Int) throws(ModelError) -> ExpandedUnit {
    func number(_ name: String) throws(ModelError) -> Double {
      if let number = try self.number("xielu.\(name)", ofLayer: layer) { return Double(number) }
      throw ModelError(
        .malformed, "the model lacks a number of its activation", tensor: "xielu.\(name)",
        expected: "one number for each layer", found: "none for layer \(layer)")
    }
    func softplus(_ number: Double) -> Double {
      number > 20 ? number : Platform.logarithm(1 + Platform.exponential(number))
    }
    let slope = try number("beta")
    return ExpandedUnit(
      above: Float(softplus(try number("alpha_p"))),
      below: Float(slope + softplus(try number("alpha_n"))), slope: Float(slope),
      limit: Float(try number("eps")))
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
