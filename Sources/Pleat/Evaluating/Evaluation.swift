internal import Bytes
internal import Kernels
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
  public var notes: [String] { [decoder, base].compactMap(\.self).flatMap(\.notes) }
  /// What was asked for.
  public let options: EvaluationOptions

  private let decoder: Decoder
  private let base: Decoder?
  private let chunks: TextChunks
  /// The positions in a chunk whose predictions count.
  private let scored: Range<Int>

  /// The number of threads without an option: one for each processor.
  public static var defaultThreadCount: Int { Platform.processorCount }

  /// Plans an evaluation.
  ///
  /// - Parameters:
  ///   - model: The model.
  ///   - base: The model to compare it with; nil for none.
  ///   - text: The text.
  ///   - options: How it is divided.
  /// - Throws: `usage` for a text that is shorter than a chunk, for contexts of less than two
  ///   tokens and tokens that the model does not have; `mismatch` for a base with another
  ///   vocabulary; `unsupported` for models that Pleat does not run, and what reading throws.
  public init(
    of model: Model, against base: Model? = nil, _ text: EvaluationText,
    _ options: EvaluationOptions
  ) throws(ModelError) {
    self.options = options
    decoder = try Decoder(model)
    self.base = try base.map { model throws(ModelError) in try Decoder(model) }
    let size = decoder.shape.vocabularySize
    if let other = self.base?.shape.vocabularySize, other != size {
      throw ModelError(
        .mismatch, "the models have different vocabularies", file: base?.path,
        expected: "\(size) tokens", found: "\(other)",
        hint: "a divergence is defined for the same tokens only")
    }
    chunks = try TextChunks(text, of: model, [decoder, self.base].compactMap(\.self), options)
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
      let other = try base.map { base throws(ModelError) in
        try DecoderPass(base, batch, by: workers)
      }
      for number in 0..<max(layerCount, base?.layers.count ?? 0) {
        if number < layerCount { try pass.run(layer: number) }
        if let base, number < base.layers.count { try other?.run(layer: number) }
        if let other, number < layers.count { layers[number].add(pass.state, other.state) }
        let part = Double(number + 1) / Double(layerCount + 1)
        onProgress?(Progress(part: min(1, done + whole * part), perplexity: perplexity))
      }
      let scorer = Scorer(
        decoder: decoder, base: base, hidden: pass.finish(), baseHidden: other?.finish(),
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

/// How far the outputs of a layer are from those of a base.
private struct LayerError {
  private var difference = 0.0
  private var whole = 0.0

  mutating func add(_ state: FloatMatrix, _ base: FloatMatrix) {
    guard state.columnCount == base.columnCount else { return }
    for row in 0..<state.rowCount {
      for (x, y) in zip(state.row(row), base.row(row)) {
        difference += Double(x - y) * Double(x - y)
        whole += Double(y) * Double(y)
      }
    }
  }

  /// The root of the ratio of mean squares.
  var relative: Double { whole == 0 ? 0 : (difference / whole).squareRoot() }
}

/// Scores predictions from hidden numbers.
private struct Scorer {
  let decoder: Decoder
  let base: Decoder?
  let hidden: FloatMatrix
  let baseHidden: FloatMatrix?
  let workers: Workers

  // The largest size of the logits of a block of rows.
  private static let logitByteCount = 64 << 20

  /// The scores of the predictions of some rows; row i predicts `targets[i]`.
  func scores(rows: Range<Int>, targets: [Int32]) throws(ModelError) -> [PositionScore] {
    let length = max(1, Self.logitByteCount / (4 * decoder.shape.vocabularySize))
    var scores: [PositionScore] = []
    for start in stride(from: 0, to: rows.count, by: length) {
      let block = start..<min(start + length, rows.count)
      let part = rows.lowerBound + block.lowerBound..<rows.lowerBound + block.upperBound
      let logits = try decoder.logits(of: hidden, rows: part, by: workers)
      var baseLogits: FloatMatrix?
      if let base, let baseHidden {
        baseLogits = try base.logits(of: baseHidden, rows: part, by: workers)
      }
      scores += try score(logits, baseLogits, Array(targets[block]))
    }
    return scores
  }

  private func score(
    _ logits: FloatMatrix, _ baseLogits: FloatMatrix?, _ targets: [Int32]
  ) throws(ModelError) -> [PositionScore] {
    try workers.map(targets.count) { row in
      let target = Int(targets[row])
      let sum = logits.logSumExp(row: row)
      var score = PositionScore(loss: sum - Double(logits[row, target]))
      guard let baseLogits else { return score }
      let baseSum = baseLogits.logSumExp(row: row)
      let baseLoss = baseSum - Double(baseLogits[row, target])
      score.against = PositionScore.Comparison(
        baseLoss: baseLoss,
        divergence: baseLogits.divergence(row: row, sum: baseSum, from: logits, otherSum: sum),
        probabilityChange: Platform.exponential(-score.loss) - Platform.exponential(-baseLoss),
        isSameTop: logits.largestColumn(row: row) == baseLogits.largestColumn(row: row))
      return score
    }
  }
}
