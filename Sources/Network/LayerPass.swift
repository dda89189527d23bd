internal import Architectures
internal import Kernels
internal import TensorModel

/// The computation of one layer for a batch of tokens.
struct LayerPass {
  let shape: DecoderShape
  let layer: DecoderLayer
  let place: DecoderShape.Layer
  let rotary: RotaryTable?
  let batch: TokenBatch
  let workers: Workers
  let observer: (any LinearObserver)?
  /// Weights in memory; nil to read them.
  let kept: KeptWeights?

  private var columns: Range<Int> { 0..<shape.width }

  /// Adds the outputs of the layer to the hidden numbers of all tokens.
  ///
  /// `cache` receives keys and values after those of earlier tokens. Throws what reading weights
  /// throws.
  func run(
    _ state: FloatMatrix, cache: (keys: FloatMatrix, values: FloatMatrix)?
  ) throws(ModelError) {
    let input = normed(state, by: layer.inputNorm)
    let attention = try attention(input, cache)
    add(attention, layer.attentionNorm, to: state)
    let middle = shape.isParallel ? input : normed(state, by: layer.feedForwardInputNorm)
    let output =
      if let experts = layer.experts {
        try mixed(middle, experts)
      } else if let network = layer.network {
        try fedForward(middle, network)
      } else {
        FloatMatrix(rowCount: middle.rowCount, columnCount: shape.width)
      }
    add(output, layer.feedForwardNorm, to: state)
  }

  private func normed(_ state: FloatMatrix, by norm: RowNorm?) -> FloatMatrix {
    let result = FloatMatrix(rowCount: state.rowCount, columnCount: state.columnCount)
    for row in 0..<state.rowCount {
      if let norm {
        state.norm(row: row, columns: columns, by: norm, into: result)
      } else {
        result.setRow(row, to: state, row: row)
      }
    }
    return result
  }

  private func add(_ output: FloatMatrix, _ norm: RowNorm?, to state: FloatMatrix) {
    for row in 0..<state.rowCount {
      if let norm { output.norm(row: row, columns: columns, by: norm, into: output) }
      state.add(output, row: row, scale: shape.residualScale, to: row)
    }
  }

  /// The products with matrices, whose inputs the observer sees.
  private func products(
    _ x: FloatMatrix, _ linears: [Linear], expert: Int? = nil
  ) throws(ModelError) -> [FloatMatrix] {
    observer?.observe(x, of: linears.map(\.name).withoutRepeats, expert: expert)
    return try workers.products(of: x, rows: 0..<x.rowCount, with: linears, keeping: kept)
  }

  // MARK: - Attention

  private func attention(
    _ input: FloatMatrix, _ cache: (keys: FloatMatrix, values: FloatMatrix)?
  ) throws(ModelError) -> FloatMatrix {
    let parts = try products(input, [layer.queries, layer.keys, layer.values])
    let (queries, keys, values) = (parts[0], parts[1], parts[2])
    var scratch: [Float] = []
    for text in batch.texts {
      for row in text.rows {
        let position = text.firstPosition + row - text.rows.lowerBound
        place(queries, row, position, layer.queryNorm, &scratch)
        place(keys, row, position, layer.keyNorm, &scratch)
        let factor = rotary?.queryFactor(position) ?? 1
        if factor != 1 { queries.scale(row: row, by: factor) }
        guard let cache else { continue }
        cache.keys.setRow(position, to: keys, row: row)
        cache.values.setRow(position, to: values, row: row)
      }
    }
    let runs = batch.texts.map { text in
      Attention.Run(
        queries: text.rows, firstPosition: text.firstPosition,
        firstKey: cache == nil ? text.rows.lowerBound : 0)
    }
    let mixed = try Attention(shape: shape, workers: workers, window: place.window).result(
      of: queries, keys: cache?.keys ?? keys, values: cache?.values ?? values, runs: runs)
    return try products(mixed, [layer.output])[0]
  }

  /// Norms and rotates the heads of a row.
  private func place(
    _ heads: FloatMatrix, _ row: Int, _ position: Int, _ norm: RowNorm?, _ scratch: inout [Float]
  ) {
    if !shape.normsAfterRotation { self.norm(heads, row, by: norm) }
    rotary?.rotate(
      heads, row: row, position: position, headSize: shape.headSize, scratch: &scratch)
    if shape.normsAfterRotation { self.norm(heads, row, by: norm) }
  }

  private func norm(_ heads: FloatMatrix, _ row: Int, by norm: RowNorm?) {
    guard let norm else { return }
    let length = shape.normsAllHeads ? heads.columnCount : shape.headSize
    for start in stride(from: 0, to: heads.columnCount, by: length) {
      heads.norm(row: row, columns: start..<start + length, by: norm, into: heads)
    }
  }

  // MARK: - Feed-forward network

  private func fedForward(
    _ input: FloatMatrix, _ network: DecoderLayer.FeedForward, expert: Int? = nil
  ) throws(ModelError) -> FloatMatrix {
    let inner: FloatMatrix
    if let gate = network.gate {
      let parts = try products(input, [gate, network.up], expert: expert)
      inner = parts[0]
      activate(inner, times: parts[1])
    } else {
      inner = try products(input, [network.up], expert: expert)[0]
      activate(inner, times: nil)
    }
    return try products(inner, [network.down], expert: expert)[0]
  }

  private func activate(_ inner: FloatMatrix, times factors: FloatMatrix?) {
    for row in 0..<inner.rowCount {
      inner.activate(row: row, columns: 0..<inner.columnCount, shape.activation, times: factors)
    }
  }

  /// What experts add: each token goes through those that the router chooses for it.
  private func mixed(
    _ input: FloatMatrix, _ experts: DecoderLayer.Experts
  ) throws(ModelError) -> FloatMatrix {
    let result = FloatMatrix(rowCount: input.rowCount, columnCount: shape.width)
    guard let sizes = shape.experts else { return result }
    let logits = try products(input, [experts.router])[0]
    var users = [[(row: Int, weight: Float)]](repeating: [], count: sizes.count)
    for row in 0..<input.rowCount {
      for (expert, weight) in sizes.chosen(logits, row: row, experts.corrections) {
        users[expert].append((row, weight))
      }
    }
    for (expert, rows) in users.enumerated() where !rows.isEmpty {
      let gathered = FloatMatrix(rowCount: rows.count, columnCount: shape.width)
      for (index, use) in rows.enumerated() { gathered.setRow(index, to: input, row: use.row) }
      let output = try fedForward(gathered, experts.networks[expert], expert: expert)
      for (index, use) in rows.enumerated() {
        result.add(output, row: index, scale: use.weight, to: use.row)
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
    }
    return result
  }
}

extension DecoderShape.Experts {
  /// The experts that a token uses, and what their outputs are multiplied by.
  ///
  /// `logits` is overwritten.
  fileprivate func chosen(
    _ logits: FloatMatrix, row: Int, _ corrections: [Float]?
  ) -> [(expert: Int, weight: Float)] {
    switch router {
    case .softmaxOfChosen: break
    case .softmax: logits.softmax(row: row, columns: 0..<count)
    case .sigmoid: logits.activate(row: row, columns: 0..<count, .sigmoid)
    }
    let weights = logits.row(row)
    let scores = corrections.map { zip(weights, $0).map { $0 + $1 } } ?? weights
    // Of equal scores, that of the first expert counts as larger.
    let order = scores.indices.sorted { (scores[$1], $0) < (scores[$0], $1) }
    let chosen = order.prefix(usedCount)
    if case .softmaxOfChosen = router {
      let matrix = FloatMatrix(rowCount: 1, columnCount: usedCount)
      matrix.setRow(0, to: chosen.map { scores[$0] }[...])
      matrix.softmax(row: 0, columns: 0..<usedCount)
      return Array(zip(chosen, matrix.row(0)))
    }
    let sum = normalizes ? max(chosen.reduce(0) { $0 + weights[$1] }, 1e-20) : 1
    return chosen.map { ($0, weights[$0] / sum * scale) }
  }
}
