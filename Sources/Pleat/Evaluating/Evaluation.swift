internal import Bytes
internal import Network
public import TensorModel
public import Weights

/// How well a model predicts a text, alone or compared with a base.
///
/// Making one reads headers, configs and vectors, and finds whatever would stop it; `run` computes.
public struct Evaluation: Sendable {
  /// The number of tokens of a chunk.
  public var contextLength: Int { chunks.length }
  /// The number of chunks.
  public var chunkCount: Int { chunks.count }
  /// The number of predictions that count.
  public var predictionCount: Int { chunkCount * scored.count }
  /// The number of chunks that are computed at once.
  public var chunksPerPass: Int { chunks.countPerPass }
  /// About the largest number of bytes that activations take.
  public var activationByteCount: Int { chunks.activationByteCount }
  /// The token that replaces the first one of each chunk; nil for none.
  public var beginID: Int32? { chunks.beginID }
  /// Notes for the user about what is not computed.
  public let notes: [String]
  /// What was asked for.
  public let options: EvaluationOptions

  private let decoder: Decoder
  private let base: Decoder?
  /// The base without its adapters; nil if it has none.
  private let unadapted: Decoder?
  private let chunks: TextChunks
  /// The positions in a chunk whose predictions count.
  private let scored: Range<Int>

  /// The number of threads without an option: one for each processor.
  public static var defaultThreadCount: Int { Platform.processorCount }

  /// Plans an evaluation.
  ///
  /// - Parameters:
  ///   - model: The model.
  ///   - adapters: Adapters with which it runs, without merging them.
  ///   - base: The model to compare it with; nil for none.
  ///   - baseAdapters: Adapters with which the base runs. The base alone is evaluated, too.
  ///   - text: The text.
  ///   - options: How it is divided.
  /// - Throws: `usage` for a text that is shorter than a chunk, for contexts of less than two
  ///   tokens and tokens that the model does not have; `mismatch` for a base with another
  ///   vocabulary, and for adapters that do not fit; `unsupported` for models that Pleat does not
  ///   run, and for adapters that it does not apply, and what reading throws.
  public init(
    of model: Model, with adapters: [AppliedAdapter] = [], against base: Model? = nil,
    with baseAdapters: [AppliedAdapter] = [], _ text: EvaluationText,
    _ options: EvaluationOptions
  ) throws(ModelError) {
    self.options = options
    let own = try Decoder.adapted(model, by: adapters)
    let other = try base.map { base throws(ModelError) in
      try Decoder.adapted(base, by: baseAdapters)
    }
    decoder = own.decoder
    self.base = other?.decoder
    let isAdapted = !baseAdapters.isEmpty
    unadapted = try base.flatMap { base throws(ModelError) in
      isAdapted ? try Decoder(base) : nil
    }
    notes = own.decoder.notes + own.notes + (other.map { $0.decoder.notes + $0.notes } ?? [])
    let size = decoder.shape.vocabularySize
    if let other = self.base?.shape.vocabularySize, other != size {
      throw ModelError(
        .mismatch, "the models have different vocabularies", file: base?.path,
        expected: "\(size) tokens", found: "\(other)",
        hint: "a divergence is defined for the same tokens only")
    }
    chunks = try TextChunks(
      text, of: model, [decoder, self.base, unadapted].compactMap(\.self), options)
    scored = (options.scoring == .half ? chunks.length / 2 : 0)..<chunks.length - 1
  }

  /// How far an evaluation is.
  public struct Progress: Sendable {
    /// The part that is done, from 0 to 1.
    public var part: Double
    /// The perplexity of what is done; nil before the first chunk.
    public var perplexity: Double?
  }

  /// Computes all chunks.
  ///
  /// The result does not depend on the number of threads, the memory or the instruction set.
  ///
  /// - Parameters:
  ///   - cancellation: May stop it.
  ///   - onProgress: Called after each layer.
  /// - Returns: The result.
  /// - Throws: `interrupted`, and what reading weights throws.
  public func run(
    cancellation: Cancellation = Cancellation(), onProgress: ((Progress) -> Void)? = nil
  ) throws(ModelError) -> EvaluationResult {
    let workers = Workers(count: options.threadCount, stoppedBy: cancellation)
    var result = EvaluationResult(chunkLength: scored.count, hasBase: base != nil)
    let layerCount = decoder.layers.count
    var layers =
      options.measuresLayers && base?.layers.count == layerCount
      ? Array(repeating: LayerError(), count: layerCount) : []
    for range in chunks.passes {
      let done = Double(range.lowerBound) / Double(chunkCount)
      let whole = Double(range.count) / Double(chunkCount)
      let perplexity = result.perplexitySoFar
      let batch = chunks.batch(of: range)
      let pass = try DecoderPass(decoder, batch, by: workers)
      func start(_ decoder: Decoder?) throws(ModelError) -> DecoderPass? {
        try decoder.map { decoder throws(ModelError) in
          try DecoderPass(decoder, batch, by: workers)
        }
      }
      let other = try start(base)
      let plain = try start(unadapted)
      for number in 0..<max(layerCount, base?.layers.count ?? 0) {
        if number < layerCount { try pass.run(layer: number) }
        if let base, number < base.layers.count {
          try other?.run(layer: number)
          try plain?.run(layer: number)
        }
        if let other, number < layers.count { layers[number].add(pass.state, other.state) }
        let part = Double(number + 1) / Double(layerCount + 1)
        onProgress?(Progress(part: min(1, done + whole * part), perplexity: perplexity))
      }
      let scorer = Scorer(
        model: pass.finished, base: other?.finished, unadapted: plain?.finished,
        workers: workers)
      for chunk in 0..<range.count {
        let first = chunk * contextLength
        let targets = batch.tokens[first + scored.lowerBound + 1..<first + scored.upperBound + 1]
        result.append(
          try scorer.scores(
            rows: first + scored.lowerBound..<first + scored.upperBound,
            targets: Array(targets)))
      }
    }
    result.layerErrors = layers.map(\.relative)
    return result
  }
}

extension DecoderPass {
  /// The model and its hidden numbers, after all layers.
  fileprivate var finished: Scorer.Side { Scorer.Side(decoder: decoder, hidden: finish()) }
}
