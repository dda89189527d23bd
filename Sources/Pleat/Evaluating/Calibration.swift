internal import Bytes
public import Formats
internal import Kernels
internal import Network
internal import SystemPackage
public import TensorModel
public import Weights

/// The measurement of an importance matrix, as llama-imatrix measures it: for each column of a
/// weight, the sum of the squares of its inputs over the tokens of a text.
public struct Calibration: Sendable {
  /// The number of chunks of the text.
  public var chunkCount: Int { chunks.count }
  /// The number of tokens of a chunk.
  public var contextLength: Int { chunks.length }
  /// The number of chunks that are computed at once.
  public var chunksPerPass: Int { chunks.countPerPass }
  /// About the largest number of bytes that activations take.
  public var activationByteCount: Int { chunks.activationByteCount }
  /// Notes for the user about what is not computed.
  public var notes: [String] { decoder.notes + chunks.notes }

  private let decoder: Decoder
  private let model: Model
  private let chunks: TextChunks
  private let datasets: [String]
  private let options: EvaluationOptions
  /// A text that is equal only for measurements with the same sums.
  let key: String

  /// Plans a measurement; all tokens of a chunk count.
  ///
  /// Each text is divided by itself. Throws what planning an evaluation throws.
  public init(
    of model: Model, _ texts: [EvaluationText], _ options: EvaluationOptions
  ) throws(ModelError) {
    self.options = options
    decoder = try Decoder(model)
    self.model = model
    chunks = try TextChunks(texts, of: model, [decoder], options)
    guard chunks.tokens.count <= SquareSums.countLimit else {
      throw ModelError(
        .limit, "the text is too long to add up its inputs",
        expected: "at most \(SquareSums.countLimit) tokens", found: "\(chunks.tokens.count)",
        hint: "measure parts of it, and add them with --merge")
    }
    datasets = texts.map { $0.path ?? "" }
    key = try Self.key(model, chunks)
  }

  private static func key(_ model: Model, _ chunks: TextChunks) throws(ModelError) -> String {
    var tokens = CRC32C()
    for token in chunks.tokens {
      let bytes = (0..<4).map { UInt8(truncatingIfNeeded: token >> (8 * $0)) }
      tokens.update(bytes.span)
    }
    var lines = [PleatVersion.text, tokens.text]
    lines.append("\(chunks.count) \(chunks.length) \(chunks.beginID.map { "\($0)" } ?? "")")
    lines += model.reader.files.map(\.identity)
    if let config = try model.configuration() { lines.append(JSONWriter.text(config)) }
    let text = Array(lines.joined(separator: "\n").utf8)
    return "\(CRC32C(of: text.span).text) \(text.count)"
  }

  /// What an earlier run of the same measurement left beside an output; nothing if there is none.
  ///
  /// Throws `io`, and `malformed` for a file that no run has written.
  public func state(beside output: String) throws(ModelError) -> CalibrationState {
    let output = FilePath(output)
    return try CalibrationState(
      at: output.sibling(".\(output.name).sums"), key: key, limit: chunkCount)
  }

  /// Checks that a file can be written, before anything is computed.
  ///
  /// - Parameters:
  ///   - path: The path of the file.
  ///   - model: The model.
  ///   - inputs: The paths of the other inputs.
  ///   - replacing: Whether an existing file is replaced.
  /// - Throws: `usage` for a path whose suffix names no form, for the path of an input, and for
  ///   something that exists and must not be replaced; `io` if there is no folder for it.
  public static func checkOutput(
    _ path: String, of model: Model, _ inputs: [String], replacing: Bool
  ) throws(ModelError) {
    guard ImportanceCopy.form(suggestedBy: path) != nil else {
      throw ModelError(
        .usage, "the name does not say which form to write", file: path,
        expected: "a name that ends in .gguf or .dat")
    }
    let output = FilePath(path)
    let isInput = inputs.contains { FileSystem.isSame(FilePath($0), output) }
    guard !model.reads(output), !isInput else {
      throw ModelError(
        .usage, "the output is the input", file: path, hint: "write to another path")
    }
    try Staging.checkFolder(of: output)
    try Staging.check(output, isFolder: false, replacing: replacing)
  }

  /// Computes all chunks.
  ///
  /// The result does not depend on the number of threads, the memory or the instruction set, nor on
  /// how often it was stopped.
  ///
  /// - Parameters:
  ///   - state: What an earlier run measured, which is replaced after some chunks; nil to begin anew
  ///     and to write nothing.
  ///   - others: Matrices that the result will be added to. They are compared with it after the
  ///     first chunks, so that those of another model are found early.
  ///   - cancellation: May stop it.
  ///   - onProgress: Called after each layer with the part that is done.
  /// - Returns: The importance matrix.
  /// - Throws: `interrupted`, `malformed` if numbers overflow or are not numbers, `mismatch` for
  ///   matrices of another model, `io` if a file changed meanwhile, and what reading weights and
  ///   writing sums throws.
  public func run(
    from state: CalibrationState? = nil, mergingInto others: [ImportanceMatrix] = [],
    cancellation: Cancellation = Cancellation(),
    onProgress: ((Evaluation.Progress) -> Void)? = nil
  ) throws(ModelError) -> ImportanceMatrix {
    let sums = try measure(
      0..<chunks.count, from: state, mergingInto: others, cancellation: cancellation,
      onProgress: onProgress)
    return matrix(sums, chunkCount: chunks.count)
  }

  /// The matrix of the sums of all chunks, which parts of them have measured.
  ///
  /// Throws `malformed` for sums of other weights, or which overflow.
  func finished(_ sums: InputSums) throws(ModelError) -> ImportanceMatrix {
    if let name = sums.misfit {
      throw ModelError(
        .malformed, "parts have sums of different sizes for the weight", tensor: name)
    }
    guard sums.areFinite else { throw model.overflow }
    return matrix(sums, chunkCount: chunks.count)
  }

  private func matrix(_ sums: InputSums, chunkCount: Int) -> ImportanceMatrix {
    ImportanceMatrix(
      measured: sums.entries, datasets: datasets, chunkCount: chunkCount, chunkSize: chunks.length)
  }

  /// Sums of no chunk, or of those of a state.
  func sums(of state: CalibrationState? = nil) -> InputSums {
    InputSums(after: state?.sums ?? [:])
  }

  /// Computes some chunks.
  ///
  /// The parameters are those of `run`; the state is that of these chunks. `onSave` is called after
  /// sums were written. Throws what `run` and `onSave` throw.
  func measure(
    _ range: Range<Int>, from state: CalibrationState?, mergingInto others: [ImportanceMatrix],
    cancellation: Cancellation, onProgress: ((Evaluation.Progress) -> Void)?,
    onSave: (_ chunkCount: Int) throws(ModelError) -> Void = { (_) throws(ModelError) in }
  ) throws(ModelError) -> InputSums {
    let workers = Workers(count: options.threadCount, stoppedBy: cancellation)
    let sums = sums(of: state)
    let clock = ContinuousClock()
    // Writing sums takes at most a twentieth of the time.
    var nextSave = clock.now
    let first = range.lowerBound
    let passes = chunks.passes(over: first + (state?.chunkCount ?? 0)..<range.upperBound)
    for chunk in passes {
      let pass = try DecoderPass(
        decoder, chunks.batch(of: chunk), by: workers, observer: sums)
      for number in decoder.layers.indices {
        try pass.run(layer: number)
        let part = Double(number + 1) / Double(decoder.layers.count)
        let done = Double(chunk.lowerBound - first) + Double(chunk.count) * part
        onProgress?(Evaluation.Progress(part: done / Double(range.count)))
      }
      if let name = sums.misfit {
        throw ModelError(
          .malformed, "the kept sums have another size than the weight", file: state?.path.string,
          tensor: name, hint: "remove the file, or leave --resume out")
      }
      try model.checkRead()
      guard sums.areFinite else { throw model.overflow }
      if !others.isEmpty, chunk == passes.first {
        _ = try ImportanceMatrix.merged(
          others + [matrix(sums, chunkCount: chunk.upperBound - first)])
      }
      let start = clock.now
      guard let state, chunk == passes.last || start >= nextSave else { continue }
      try state.save(sums.sums, chunkCount: chunk.upperBound - first)
      try onSave(chunk.upperBound - first)
      nextSave = clock.now.advanced(by: start.duration(to: clock.now) * 20)
    }
    return sums
  }
}

extension Workers {
  /// Threads that stop if a cancellation is requested.
  init(count: Int, stoppedBy cancellation: Cancellation) {
    self.init(count: count) { () throws(ModelError) in
      guard !cancellation.isRequested else {
        throw ModelError(.interrupted, "stopped on request")
      }
    }
  }
}
