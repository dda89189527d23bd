internal import Architectures
internal import Bytes
internal import Formats
package import Kernels
package import TensorModel
package import Weights

/// A model that predicts tokens: its shape and its weights.
///
/// Weights are read from the file in blocks, whenever they are used, in any encoding that Pleat
/// decodes. Activations are float32.
package struct Decoder: Sendable {
  package let shape: DecoderShape
  let embeddings: WeightMatrix
  /// What makes the inputs that layers have of their own; nil without them.
  let inputs: InputWeights?
  /// What makes several states of a token, and one of them after the layers; nil for one state.
  let states: StateWeights?
  package let layers: [DecoderLayer]
  let outputNorm: RowNorm?
  let head: Linear
  /// Where matrices stay for passes of one token; nil to read them each time.
  package var kept: KeptWeights?
  /// Notes about what is not computed.
  package private(set) var notes: [String] = []

  /// The values of `model_type` that Pleat runs, sorted.
  package static var modelTypes: [String] { DecoderKind.allModelTypes }

  /// Finds the weights of a model, which runs with adapters that are not merged.
  ///
  /// Reads headers, the config and vectors, but no matrix. Throws `unsupported` for an architecture,
  /// a config or tensors that Pleat does not run, `malformed` for a model that contradicts its
  /// config, and what reading throws.
  package init(
    _ model: Model, _ adapters: UnmergedAdapters = .none
  ) throws(ModelError) {
    do throws(ModelError) {
      try model.requireNumbers()
      // For `Model.checkRead`.
      model.reader.startChecking()
      self =
        try model.isGGUF
        ? Decoder(gguf: model, adapters) : Decoder(checkpoint: model, adapters)
      if let name = model.attachedNames.first(where: { !adapters.attachedNames.contains($0) }) {
        notes.append("the adapters beside the weights are not applied, such as \(name)")
      }
    } catch {
      throw error.located(file: model.path)
    }
  }

  private init(gguf model: Model, _ adapters: UnmergedAdapters) throws(ModelError) {
    let reader = WeightReader(model: model)
    let tensors = model.catalog.tensors
    let metadata = model.catalog.metadata
    let named = try CheckpointTranslation.architecture(toRun: metadata)
    guard DecoderKind.of(named) != nil else {
      throw DecoderKind.refusal(of: named.modelTypes[0])
    }
    let config = try CheckpointTranslation.config(toRun: tensors, metadata, named) {
      (index) throws(ModelError) in
      guard let tensor = reader.tensor(index) else { return [] }
      return try reader.values(of: tensor, rows: 0..<tensors[index].shape.rowCount)
    }
    guard let architecture = Architectures.forConfig(config) else {
      throw DecoderKind.refusal(of: config["model_type"]?.string)
    }
    let count = try Self.tokenCount(tensors.first { $0.name == TensorNames.ggufEmbeddings })
    let parameters = try Hyperparameters(config, architecture, tokenCount: count)
    let shape = try DecoderShape(
      config, architecture, parameters, vocabularySize: count, isGGUF: true)
    let weights = NetworkWeights(gguf: model, adapters)
    try self.init(shape, weights, tiesHead: nil)
    // Other models are compared with their config.
    guard !architecture.isStoredOneByOne else { return }
    try weights.checkAreUsed { tensor in
      // Angles are computed from the config; later layers predict several tokens.
      let words = tensor.name.split(separator: ".")
      guard words.count > 2, words[0] == "blk" else { return words[0] == "rope_freqs" }
      guard let layer = Int(words[1]), layer < parameters.layerCount else { return true }
      return shape.layers[layer].source != nil && Self.keyNames.contains(String(words[2]))
    }
  }

  private init(checkpoint model: Model, _ adapters: UnmergedAdapters) throws(ModelError) {
    guard let whole = try model.configuration() else {
      throw ModelError(
        .unsupported, "the model has no config.json, which says what it computes",
        expected: "a Hugging Face checkpoint, or a file made from one")
    }
    let stated = TextConfig.merged(whole)
    guard var architecture = Architectures.forConfig(stated), DecoderKind.of(architecture) != nil
    else { throw DecoderKind.refusal(of: stated["model_type"]?.string) }
    architecture = architecture.named(asIn: model.catalog.tensors, whole)
    // Only llama.cpp rounds them, and only there layers have keys that they do not use.
    architecture.traits.roundsYarnLimits = false
    architecture.variedLayers?.keepsAllKeys = false
    var arranged = model
    if let views = try architecture.views(of: model.catalog.tensors, stated, for: .llamaCpp) {
      arranged = try model.viewed(views)
    }
    let tensors = arranged.catalog.tensors
    let config = architecture.withUsualKeys(stated)
    let name = architecture.modelNames[0].huggingFace + ".weight"
    let count = try Self.tokenCount(tensors.first { architecture.plainName($0.name) == name })
    let parameters = try Hyperparameters(
      architecture.withoutMissingLayers(config, tensors), architecture, tokenCount: count,
      queryRowCount: tensors.queryRowCount)
    let shape = try DecoderShape(
      config, architecture, parameters, vocabularySize: count, isGGUF: false)
    let weights = try NetworkWeights(
      checkpoint: model, arranged: arranged, config: whole, architecture, parameters,
      tokenCount: count, adapters)
    try self.init(shape, weights, tiesHead: TextConfig.tiesEmbeddings(whole))
    if let stated = config["vocab_size"]?.int, stated != count {
      notes.append(
        "config.json states a vocab_size of \(stated), but the embeddings have \(count) rows: "
          + "all rows are computed, transformers does not load the model")
    }
  }

  private init(
    _ shape: DecoderShape, _ weights: NetworkWeights, tiesHead: Bool?
  ) throws(ModelError) {
    self.shape = shape
    embeddings = try weights.matrix(TensorNames.ggufEmbeddings, for: .rows)
    try weights.check(embeddings, rows: shape.vocabularySize, columns: shape.width)
    inputs = try InputWeights(weights, shape)
    states = try StateWeights(weights, shape)
    var layers: [DecoderLayer] = []
    for number in shape.layers.indices {
      layers.append(try DecoderLayer(number, of: weights, shape))
    }
    self.layers = layers
    outputNorm =
      shape.kind.lacksNormWeights
      ? shape.plainNorm : try weights.norm(shape.kind.outputNorm, shape.width, shape)
    let hasHead = weights.has(TensorNames.ggufHead) && tiesHead != true
    head =
      hasHead
      ? try weights.linear("output", rows: shape.vocabularySize, columns: shape.width)
      : Linear(
        name: TensorNames.ggufEmbeddings, matrix: try weights.embeddingsAsHead(), bias: nil)
    try weights.checkAdapters()
  }

  /// Weights that a layer may have, but does not use with the keys of another one.
  private static let keyNames: Set<String> = ["attn_k", "attn_v", "attn_k_norm"]

  private static func tokenCount(_ embeddings: TensorInfo?) throws(ModelError) -> Int {
    if let embeddings { return embeddings.shape.rowCount }
    throw ModelError(
      .malformed, "the model has no token embeddings", expected: TensorNames.ggufEmbeddings)
  }
}

// MARK: - Forward

extension Decoder {
  /// The hidden numbers of tokens after the last norm: tokens × width.
  ///
  /// Parameters and errors are those of `DecoderPass`.
  package func hidden(
    _ batch: TokenBatch, cache: KeyValueCache? = nil, by workers: Workers
  ) throws(ModelError) -> FloatMatrix {
    let pass = try DecoderPass(self, batch, cache: cache, by: workers)
    for number in layers.indices { try pass.run(layer: number) }
    return try pass.finish()
  }

  /// About the number of bytes that the activations of a token take while a layer runs.
  package var activationByteCount: Int {
    let heads = shape.layers.map { layer in
      let heads = layer.heads
      let gates = shape.gatesQueries ? 2 * heads.count * heads.keySize : 0
      // With latent attention, queries have another form before.
      let others = heads.count * (shape.latent.map { $0.headSize + $0.valueSize } ?? 0)
      return heads.keyWidth + heads.valueWidth
        + heads.count * (heads.keySize + 2 * heads.valueSize) + gates + others
    }
    // Channels before and after the convolution, and packed; outputs and gates.
    let recurrent = shape.recurrence.map { 3 * $0.channelCount + 3 * $0.valueCount } ?? 0
    let inner = layers.map(\.innerWidth).max() ?? 0
    // What stays for later layers.
    let inputs = shape.layers.count * shape.layerInputWidth
    // The other states, and what is predicted for all of them.
    let states = states.map { 2 * $0.projections.count + 1 } ?? 0
    let shared = Set(shape.layers.compactMap(\.source)).map {
      shape.layers[$0].heads.keyWidth + shape.layers[$0].heads.valueWidth
    }
    // The hidden numbers, what is added to them, and their packed form; then the widest part.
    let widest = max(heads.max() ?? 0, 3 * inner, inputs, recurrent)
    return 4 * ((4 + states) * shape.width + inputs + shared.reduce(0, +) + widest)
  }

  /// Where matrices stay for a batch; nil to read them.
  func keptWeights(for batch: TokenBatch) -> KeptWeights? { batch.tokens.count == 1 ? kept : nil }

  /// The logits of some rows of hidden numbers: rows × vocabulary.
  ///
  /// Throws what reading weights throws.
  package func logits(
    of hidden: FloatMatrix, rows: Range<Int>, by workers: Workers
  ) throws(ModelError) -> FloatMatrix {
    let logits = try workers.products(of: hidden, rows: rows, with: [head], keeping: kept)[0]
    guard shape.logitScale != 1 || shape.logitCap != nil else { return logits }
    let columns = 0..<logits.columnCount
    workers.eachRow(of: logits.rowCount) { [scale = shape.logitScale, cap = shape.logitCap] row in
      if scale != 1 { logits.scale(row: row, by: scale) }
      if let cap { logits.cap(row: row, columns: columns, to: cap) }
    }
    return logits
  }
}
