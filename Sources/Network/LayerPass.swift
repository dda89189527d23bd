internal import Architectures
internal import Kernels
internal import TensorModel

/// The computation of one layer for a batch of tokens.
struct LayerPass {
  let shape: DecoderShape
  let layer: DecoderLayer
  /// The number of the layer.
  let number: Int
  let place: DecoderShape.Layer
  let rotary: RotaryTable?
  /// The inputs that layers have of their own: tokens × (layers · numbers of an input); nil without.
  let inputs: FloatMatrix?
  let shared: SharedKeys
  /// The states of each token beside the first one; none in most models.
  let otherStates: [FloatMatrix]
  let batch: TokenBatch
  let workers: Workers
  let observer: (any LinearObserver)?
  /// Weights in memory; nil to read them.
  let kept: KeptWeights?
  /// The states of the text that the batch continues; nil for whole texts, or for other layers.
  let states: States?

  private var columns: Range<Int> { 0..<shape.width }

  /// Adds the outputs of the layer to the hidden numbers of all tokens.
  ///
  /// `cache` receives keys and values after those of earlier tokens. Throws what reading weights
  /// throws.
  func run(
    _ state: FloatMatrix, cache: (keys: FloatMatrix, values: FloatMatrix)?
  ) throws(ModelError) {
    let predicted = try layer.updates.map { weights throws(ModelError) in
      try predict(state, weights)
    }
    let input = normed(state, by: layer.inputNorm)
    if let output = try mixed(input, cache) { add(output, layer.attentionNorm, to: state) }
    if let weights = layer.bypass { try add(bypass: weights, of: input, to: state) }
    let middle = shape.isParallel ? input : normed(state, by: layer.feedForwardInputNorm)
    add(try fedForward(middle, state), layer.feedForwardNorm, to: state)
    if let weights = layer.updates, let predicted {
      try correct(state, from: predicted, weights)
    }
    if let weights = layer.inputs, let inputs {
      let output = try normed(gated(inputs, by: scaled(state), weights), by: weights.norm)
      for state in layer.updates == nil ? [state] : otherStates { add(output, nil, to: state) }
    }
    guard let scale = layer.scale else { return }
    workers.eachRow(of: state.rowCount) { state.scale(row: $0, by: scale) }
  }

  /// What the tokens before add to each token; nil in a layer that does not look at them.
  private func mixed(
    _ input: FloatMatrix, _ cache: (keys: FloatMatrix, values: FloatMatrix)?
  ) throws(ModelError) -> FloatMatrix? {
    switch layer.mixer {
    case .attention(let weights): return try attention(input, weights, cache)
    case .latent(let weights): return try attention(input, weights, cache)
    case .convolution(let weights): return try convolved(input, weights, cache)
    case .deltaNet(let weights, let sizes): return try recurred(input, weights, sizes)
    case .stateSpace(let weights, let sizes): return try recurred(input, weights, sizes)
    case .attentionAndStates(let attention, let weights, let sizes):
      let result = try recurred(input, weights, sizes)
      let other = try self.attention(input, attention, cache)
      workers.eachRow(of: result.rowCount) { result.add(other, row: $0, to: $0) }
      return result
    case .nothing: return nil
    }
  }

  func normed(_ state: FloatMatrix, by norm: RowNorm?) -> FloatMatrix {
    guard let norm else { return state.copy() }
    let result = FloatMatrix(
      rowCount: state.rowCount, columnCount: state.columnCount, isZero: false)
    workers.eachRow(of: state.rowCount) { [columns] row in
      state.norm(row: row, columns: columns, by: norm, into: result)
    }
    return result
  }

  private func add(_ output: FloatMatrix, _ norm: RowNorm?, to state: FloatMatrix) {
    workers.eachRow(of: state.rowCount) { [columns, scale = shape.residualScale] row in
      if let norm { output.norm(row: row, columns: columns, by: norm, into: output) }
      state.add(output, row: row, scale: scale, to: row)
    }
  }

  /// The products with matrices, whose inputs the observer sees.
  func products(
    _ x: FloatMatrix, _ linears: [Linear], expert: Int? = nil
  ) throws(ModelError) -> [FloatMatrix] {
    observer?.observe(
      x, of: linears.map(\.name).withoutRepeats,
      matrix: expert.map { ($0, shape.expertCount) })
    return try workers.products(of: x, rows: 0..<x.rowCount, with: linears, keeping: kept)
  }

  // MARK: - Feed-forward network

  /// What the feed-forward network and experts add; those beside it have inputs of their own.
  private func fedForward(
    _ input: FloatMatrix, _ state: FloatMatrix
  ) throws(ModelError) -> FloatMatrix {
    let output = try layer.network.map { network throws(ModelError) in
      try fedForward(input, network)
    }
    guard let experts = layer.experts else {
      return output ?? FloatMatrix(rowCount: input.rowCount, columnCount: shape.width)
    }
    guard let output, let norms = experts.branchNorms else {
      return try mixed(input, experts, chosenBy: input)
    }
    let others = try mixed(
      normed(state, by: norms.input), experts, chosenBy: normed(state, by: norms.router))
    workers.eachRow(of: output.rowCount) { [columns] row in
      output.norm(row: row, columns: columns, by: norms.network, into: output)
      others.norm(row: row, columns: columns, by: norms.output, into: others)
      output.add(others, row: row, to: row)
    }
    return output
  }

  private func fedForward(
    _ input: FloatMatrix, _ network: DecoderLayer.FeedForward, expert: Int? = nil
  ) throws(ModelError) -> FloatMatrix {
    let inner: FloatMatrix
    if let gate = network.gate {
      let parts = try products(input, [gate, network.up], expert: expert)
      inner = parts[0]
      if let limit = place.activationLimit {
        workers.eachRow(of: inner.rowCount) { inner.keepLargest(row: $0, above: limit) }
      }
      activate(inner, times: parts[1])
    } else {
      inner = try products(input, [network.up], expert: expert)[0]
      activate(inner, times: nil)
    }
    return try products(inner, [network.down], expert: expert)[0]
  }

  /// Applies the function of the network, and multiplies by factors from a column of them on.
  func activate(_ inner: FloatMatrix, times factors: FloatMatrix?, from column: Int = 0) {
    let (gate, unit, activation) = (shape.clampedGate, layer.unit, shape.activation)
    workers.eachRow(of: inner.rowCount) { row in
      if let gate, let factors {
        inner.gate(row: row, by: factors, scale: gate.scale, limit: gate.limit)
      } else if let unit {
        inner.activate(row: row, unit)
      } else if let activation {
        inner.activate(
          row: row, columns: 0..<inner.columnCount, activation, times: factors,
          factorColumn: column)
      }
    }
  }

  /// What experts add: each token goes through those that the router chooses for it.
  private func mixed(
    _ input: FloatMatrix, _ experts: DecoderLayer.Experts, chosenBy routed: FloatMatrix
  ) throws(ModelError) -> FloatMatrix {
    let result = FloatMatrix(rowCount: input.rowCount, columnCount: shape.width)
    guard let sizes = shape.experts else { return result }
    let logits = try products(routed, [experts.router])[0]
    var users = [[(row: Int, weight: Float)]](repeating: [], count: sizes.count)
    for row in 0..<input.rowCount {
      let addend = shape.kind.weightSumAddend
      for (expert, weight) in sizes.chosen(logits, row: row, experts.corrections, addend) {
        users[expert].append((row, experts.scales.map { weight * $0[expert] } ?? weight))
      }
    }
    for (expert, rows) in users.enumerated() where !rows.isEmpty {
      let gathered = FloatMatrix(rowCount: rows.count, columnCount: shape.width)
      let weighsInputs = shape.kind.weighsExpertInputs
      for (index, use) in rows.enumerated() {
        gathered.setRow(index, to: input, row: use.row)
        if weighsInputs { gathered.scale(row: index, by: use.weight) }
      }
      let output = try fedForward(gathered, experts.networks[expert], expert: expert)
      for (index, use) in rows.enumerated() {
        result.add(output, row: index, scale: weighsInputs ? 1 : use.weight, to: use.row)
      }
    }
    guard let shared = experts.shared else { return result }
    let output = try fedForward(input, shared)
    let gates = try experts.sharedGate.map { gate throws(ModelError) in
      try products(input, [gate])[0]
    }
    for row in 0..<input.rowCount {
      gates?.activate(row: row, columns: 0..<1, .sigmoid)
      result.add(output, row: row, scale: gates?[row, 0] ?? 1, to: row)
      if shape.kind.averagesExperts { result.scale(row: row, by: 0.5) }
    }
    return result
  }
}

extension DecoderShape.Experts {
  /// The experts that a token uses, and what their outputs are multiplied by.
  ///
  /// `logits` is overwritten.
  fileprivate func chosen(
    _ logits: FloatMatrix, row: Int, _ corrections: [Float]?, _ addend: Float
  ) -> [(expert: Int, weight: Float)] {
    switch router {
    case .softmaxOfChosen, .byConfig: break
    case .softmax: logits.softmax(row: row, columns: 0..<count)
    case .sigmoid: logits.activate(row: row, columns: 0..<count, .sigmoid)
    }
    let weights = logits.row(row)
    var scores = corrections.map { zip(weights, $0).map { $0 + $1 } } ?? weights
    if let groups { groups.remove(from: &scores) }
    // Of equal scores, that of the first expert counts as larger.
    let order = scores.indices.sorted { (scores[$1], $0) < (scores[$0], $1) }
    let chosen = order.prefix(usedCount)
    if case .softmaxOfChosen = router {
      let matrix = FloatMatrix(rowCount: 1, columnCount: usedCount)
      matrix.setRow(0, to: chosen.map { scores[$0] }[...])
      matrix.softmax(row: 0, columns: 0..<usedCount)
      return Array(zip(chosen, matrix.row(0)))
    }
    let sum = normalizes ? max(chosen.reduce(0) { $0 + weights[$1] }, 1e-20) + addend : 1
    return chosen.map { ($0, weights[$0] / sum * scale) }
  }
}

extension DecoderShape.ExpertGroups {
  /// Makes the scores of experts outside of the best groups −∞.
  ///
  /// Those are the groups with the largest sums of their largest scores, of equal ones the first.
  fileprivate func remove(from scores: inout [Float]) {
    let length = scores.count / count
    let sums = (0..<count).map { group in
      let best = scores[group * length..<(group + 1) * length].sorted(by: >)
      return best.prefix(scoredCount).reduce(0, +)
    }
    let order = sums.indices.sorted { (sums[$1], $0) < (sums[$0], $1) }
    for group in order.dropFirst(usedCount) {
      for index in group * length..<(group + 1) * length { scores[index] = -.infinity }
    }
  }
}
