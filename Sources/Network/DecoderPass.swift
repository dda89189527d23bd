internal import Architectures
package import Kernels
package import TensorModel

/// The computation of a decoder for a batch of tokens, layer by layer.
package struct DecoderPass {
  /// The hidden numbers of the tokens after the layers that ran, of several states of a token those of
  /// the first one: tokens × width.
  package let state: FloatMatrix
  /// The model.
  package let decoder: Decoder
  private let batch: TokenBatch
  private let cache: KeyValueCache?
  private let workers: Workers
  private let observer: (any LinearObserver)?
  private let tables: [DecoderShape.Rotation: RotaryTable]
  private let inputs: FloatMatrix?
  private let shared: SharedKeys
  private let otherStates: [FloatMatrix]

  /// Looks up the embeddings of tokens.
  ///
  /// - Parameters:
  ///   - decoder: The model.
  ///   - batch: The tokens; with a cache, the next ones of its text.
  ///   - cache: The keys and values of earlier tokens, which those of these ones are added to.
  ///   - workers: The threads.
  ///   - observer: Sees the inputs of matrices; nil for none.
  /// - Throws: `usage` for tokens that the model does not have and for more positions than a cache
  ///   has, `unsupported` for a text that is too long for its rotary embeddings, and what reading
  ///   weights throws.
  package init(
    _ decoder: Decoder, _ batch: TokenBatch, cache: KeyValueCache? = nil, by workers: Workers,
    observer: (any LinearObserver)? = nil
  ) throws(ModelError) {
    let length = cache?.capacity ?? batch.length
    try Self.check(batch, length: length, decoder.shape)
    self.decoder = decoder
    self.batch = batch
    self.cache = cache
    self.workers = workers
    self.observer = observer
    state = try decoder.embeddings.rows(batch.tokens, times: decoder.shape.embeddingScale)
    inputs = try decoder.layerInputs(batch, state, by: workers)
    otherStates = try decoder.otherStates(of: state, batch, by: workers)
    shared = SharedKeys(decoder.shape.layers, hasCache: cache != nil)
    var tables: [DecoderShape.Rotation: RotaryTable] = [:]
    for rotation in Set(decoder.shape.layers.compactMap(\.rotation)) {
      tables[rotation] = RotaryTable(
        decoder.shape, rotation, positions: batch.positions, length: length)
    }
    self.tables = tables
  }

  /// Runs the next layer, which has this number.
  ///
  /// Throws what reading weights throws.
  package func run(layer number: Int) throws(ModelError) {
    let place = decoder.shape.layers[number]
    let pass = LayerPass(
      shape: decoder.shape, layer: decoder.layers[number], number: number, place: place,
      rotary: place.rotation.flatMap { tables[$0] }, inputs: inputs, shared: shared,
      otherStates: otherStates, batch: batch, workers: workers, observer: observer,
      kept: decoder.keptWeights(for: batch), states: cache?.states(ofLayer: number))
    try pass.run(state, cache: cache.map { $0.layers[number] })
  }

  /// Applies the last norm, after all layers.
  ///
  /// Throws what reading weights throws.
  package func finish() throws(ModelError) -> FloatMatrix {
    try decoder.mix(otherStates, into: state, batch, by: workers)
    cache?.advance(by: batch.tokens.count)
    guard let norm = decoder.outputNorm else { return state }
    workers.eachRow(of: state.rowCount) { [state] row in
      state.norm(row: row, columns: 0..<state.columnCount, by: norm, into: state)
    }
    return state
  }

  private static func check(
    _ batch: TokenBatch, length: Int, _ shape: DecoderShape
  ) throws(ModelError) {
    if let token = batch.tokens.first(where: { !(0..<shape.vocabularySize).contains(Int($0)) }) {
      throw ModelError(
        .usage, "the model does not have such a token",
        expected: "0 to \(shape.vocabularySize - 1)", found: "\(token)")
    }
    guard batch.length <= length else {
      throw ModelError(
        .usage, "the text is longer than the cache", expected: "at most \(length) tokens",
        found: "\(batch.length)")
    }
    if shape.rope.scaling == .dynamic, length > shape.contextLength {
      throw ModelError(
        .unsupported, "Pleat does not run dynamically scaled rotary embeddings on longer texts",
        tensor: "rope_scaling", expected: "at most \(shape.contextLength) tokens",
        found: "\(length)")
    }
  }
}

extension WeightMatrix {
  /// The rows of tokens, multiplied by a number: tokens × columns.
  ///
  /// Throws what reading throws.
  func rows(_ tokens: [Int32], times scale: Float) throws(ModelError) -> FloatMatrix {
    let state = FloatMatrix(rowCount: tokens.count, columnCount: columnCount)
    var known: [Int32: Int] = [:]
    var buffers = WeightMatrix.Buffers()
    for (row, token) in tokens.enumerated() {
      if let other = known[token] {
        state.setRow(row, to: state, row: other)
        continue
      }
      known[token] = row
      let values = try values(Int(token)..<Int(token) + 1, with: &buffers)
      state.setRow(row, to: values[...])
      if scale != 1 { state.scale(row: row, by: scale) }
    }
    return state
  }
}
