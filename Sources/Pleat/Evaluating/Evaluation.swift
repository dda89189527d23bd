internal import Bytes
internal import Network
internal import SystemPackage
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

  /// The number of bytes of the file of log probabilities that is written; nil for none.
  public var logitsByteCount: Int? { logitsLayout?.byteCount }
  /// The adapters with which the model runs.
  public let adapters: [AppliedAdapter]
  /// What the model is compared with; nil for nothing.
  public let against: EvaluationBase?

  private let decoder: Decoder
  private let base: Decoder?
  /// The base without its adapters; nil if it has none.
  private let unadapted: Decoder?
  private let model: Model
  private let chunks: TextChunks
  /// The positions in a chunk whose predictions count.
  private let scored: Range<Int>
  /// The layout of the file of log probabilities that is written; nil for none.
  private let logitsLayout: LogitsLayout?

  /// The number of threads without an option: one for each processor.
  public static var defaultThreadCount: Int { Platform.processorCount }

  /// Plans an evaluation.
  ///
  /// - Parameters:
  ///   - model: The model.
  ///   - adapters: Adapters with which it runs, without merging them.
  ///   - base: What it is compared with; nil for nothing.
  ///   - text: The text; nil for that of a file of log probabilities.
  ///   - options: How it is divided.
  /// - Throws: `usage` for a text that is shorter than a chunk, for contexts in which no prediction
  ///   counts, tokens that the model does not have, and what a file of log probabilities cannot hold;
  ///   `mismatch` for a base with another vocabulary or another text, and for adapters that do not
  ///   fit; `unsupported` for models that Pleat does not run, and for adapters that it does not
  ///   apply, and what reading throws.
  public init(
    of model: Model, with adapters: [AppliedAdapter] = [], against base: EvaluationBase? = nil,
    _ text: EvaluationText?, _ options: EvaluationOptions
  ) throws(ModelError) {
    self.options = options
    self.adapters = adapters
    self.model = model
    against = base
    let own = try Decoder.adapted(model, by: adapters)
    var notes = own.decoder.notes + own.notes
    decoder = own.decoder
    if case .model(let model, let adapters) = base {
      let other = try Decoder.adapted(model, by: adapters)
      self.base = other.decoder
      unadapted = adapters.isEmpty ? nil : try Decoder(model)
      notes += other.decoder.notes + other.notes
    } else {
      self.base = nil
      unadapted = nil
    }
    let size = decoder.shape.vocabularySize
    if let other = self.base?.shape.vocabularySize ?? base?.logits?.vocabularySize, other != size {
      throw ModelError(
        .mismatch, "the models have different vocabularies", file: base?.path,
        expected: "\(size) tokens", found: "\(other)",
        hint: "a divergence is defined for the same tokens only")
    }
    chunks = try TextChunks(
      text.map { [$0] } ?? [], of: model, [decoder, self.base, unadapted].compactMap(\.self),
      options, logits: base?.logits)
    self.notes = notes + chunks.notes
    scored = (options.scoring == .half ? chunks.length / 2 : 0)..<chunks.length - 1
    guard !scored.isEmpty else {
      throw ModelError(
        .usage, "no prediction of so short a context counts", expected: "at least 3 tokens",
        found: "\(chunks.length)", hint: "use a larger --context, or --score all")
    }
    try Self.checkUses(of: base?.logits, options)
    logitsLayout = try options.logitsPath.map { [chunks] path throws(ModelError) in
      let inputs = [model] + (adapters + (base?.adapters ?? [])).map(\.file.model)
      try Self.checkOutput(path, inputs, text, base, replacing: options.replacesLogits)
      return try LogitsLayout(
        contextLength: chunks.length, vocabularySize: size, chunkCount: chunks.count, path: path)
    }
  }

  /// Throws `usage` for options that a file of log probabilities does not permit.
  private static func checkUses(
    of logits: LogitsFile?, _ options: EvaluationOptions
  ) throws(ModelError) {
    guard let path = logits?.path ?? options.logitsPath else { return }
    if options.scoring != .half {
      throw ModelError(
        .usage, "a file of log probabilities has the predictions of the second half of each chunk",
        file: path, expected: "--score half", found: "--score \(options.scoring.rawValue)")
    }
    if options.measuresLayers, logits != nil {
      throw ModelError(
        .usage, "a file of log probabilities has no outputs of layers", file: path,
        expected: "a model for --against", found: "--layers")
    }
  }

  /// Throws `usage` if a file cannot be written to a path.
  private static func checkOutput(
    _ path: String, _ models: [Model], _ text: EvaluationText?, _ base: EvaluationBase?,
    replacing: Bool
  ) throws(ModelError) {
    let output = FilePath(path)
    let isInput =
      switch base {
      case .model(let base, _): base.reads(output)
      case .logits(let file): file.isSame(as: path)
      case nil: false
      }
    let isText = text?.path.map { FileSystem.isSame(FilePath($0), output) } ?? false
    guard !isInput, !isText, !models.contains(where: { $0.reads(output) }) else {
      throw ModelError(
        .usage, "the output is the input", file: path, hint: "write to another path")
    }
    try Staging.check(output, isFolder: false, replacing: replacing)
  }

  /// The models that are read, also those of adapters.
  private var models: [Model] {
    let adapters = (adapters + (against?.adapters ?? [])).map(\.file.model)
    guard case .model(let base, _) = against else { return [model] + adapters }
    return [model, base] + adapters
  }

  /// Throws `malformed` if numbers of a model overflow or are not numbers.
  private func check(_ scores: [PositionScore]) throws(ModelError) {
    for score in scores {
      guard score.loss.isFinite else { throw model.overflow }
      guard case .model(let base, _) = against, let other = score.against else { continue }
      guard other.baseLoss.isFinite, other.unadapted?.loss.isFinite ?? true else {
        throw base.overflow
      }
    }
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
  /// - Throws: `interrupted`, `malformed` if the numbers of a model overflow or are not numbers, `io`
  ///   if a file changed meanwhile, what reading weights throws, and what reading and writing files of
  ///   log probabilities throws.
  public func run(
    cancellation: Cancellation = Cancellation(), onProgress: ((Progress) -> Void)? = nil
  ) throws(ModelError) -> EvaluationResult {
    let workers = Workers(count: options.threadCount, stoppedBy: cancellation)
    let writing = try logitsLayout.map { layout throws(ModelError) in
      try LogitsWriting(
        layout, tokens: chunks.tokens, to: options.logitsPath ?? "",
        replacing: options.replacesLogits)
    }
    var result = EvaluationResult(chunkLength: scored.count, hasBase: against != nil)
    let layerCount = decoder.layers.count
    var layers =
      options.measuresLayers && base?.layers.count == layerCount
      ? Array(repeating: LayerError(), count: layerCount) : []
    for range in chunks.passes() {
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
        model: try pass.finished(), base: try other?.finished(),
        unadapted: try plain?.finished(),
        logits: against?.logits, writing: writing, workers: workers)
      for (index, chunk) in range.enumerated() {
        let first = index * contextLength
        let targets = batch.tokens[first + scored.lowerBound + 1..<first + scored.upperBound + 1]
        let scores = try scorer.scores(
          chunk: chunk, firstRow: first, positions: scored, targets: Array(targets))
        try check(scores)
        result.append(scores)
      }
      for model in models { try model.checkRead() }
    }
    try against?.logits?.checkUnchanged()
    try writing?.publish()
    result.layerErrors = layers.map(\.relative)
    return result
  }
}

extension DecoderPass {
  /// The model and its hidden numbers, after all layers.
  ///
  /// Throws what reading weights throws.
  fileprivate func finished() throws(ModelError) -> Scorer.Side {
    Scorer.Side(decoder: decoder, hidden: try finish())
  }
}
