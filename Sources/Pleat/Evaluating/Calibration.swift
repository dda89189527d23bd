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
  public var notes: [String] { decoder.notes }

  private let decoder: Decoder
  private let chunks: TextChunks
  private let dataset: String
  private let options: EvaluationOptions

  /// Plans a measurement; all tokens of a chunk count.
  ///
  /// Throws what planning an evaluation throws.
  public init(
    of model: Model, _ text: EvaluationText, _ options: EvaluationOptions
  ) throws(ModelError) {
    self.options = options
    decoder = try Decoder(model)
    chunks = try TextChunks(text, of: model, [decoder], options)
    dataset = text.path ?? ""
  }

  /// Checks that a file can be written, before anything is computed.
  ///
  /// Throws `usage` for a path whose suffix names no form, for the path of an input, and for
  /// something that exists and must not be replaced.
  public static func checkOutput(
    _ path: String, of model: Model, _ text: EvaluationText, replacing: Bool
  ) throws(ModelError) {
    guard ImportanceCopy.form(suggestedBy: path) != nil else {
      throw ModelError(
        .usage, "the name does not say which form to write", file: path,
        expected: "a name that ends in .gguf or .dat")
    }
    let output = FilePath(path)
    let readsText = text.path.map { FileSystem.isSame(FilePath($0), output) } ?? false
    guard !model.reads(output), !readsText else {
      throw ModelError(
        .usage, "the output is the input", file: path, hint: "write to another path")
    }
    try Staging.check(output, isFolder: false, replacing: replacing)
  }

  /// Computes all chunks.
  ///
  /// The result does not depend on the number of threads, the memory or the instruction set.
  ///
  /// - Parameters:
  ///   - cancellation: May stop it.
  ///   - onProgress: Called after each layer with the part that is done.
  /// - Returns: The importance matrix.
  /// - Throws: `interrupted`, and what reading weights throws.
  public func run(
    cancellation: Cancellation = Cancellation(),
    onProgress: ((Evaluation.Progress) -> Void)? = nil
  ) throws(ModelError) -> ImportanceMatrix {
    let workers = Workers(count: options.threadCount, stoppedBy: cancellation)
    let sums = InputSums(expertCount: decoder.shape.expertCount)
    for range in chunks.passes {
      let pass = try DecoderPass(
        decoder, chunks.batch(of: range), by: workers, observer: sums)
      for number in decoder.layers.indices {
        try pass.run(layer: number)
        let part = Double(number + 1) / Double(decoder.layers.count)
        let done = (Double(range.lowerBound) + Double(range.count) * part) / Double(chunks.count)
        onProgress?(Evaluation.Progress(part: done))
      }
    }
    return ImportanceMatrix(
      measured: sums.entries, dataset: dataset, chunkCount: chunks.count,
      chunkSize: chunks.length)
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

/// Adds up the squares of inputs, in double, token by token.
private final class InputSums: LinearObserver {
  /// The sums of a weight, of all matrices of a stack, and the number of tokens of each matrix.
  private struct Sum {
    var squares: [[Double]]
    var counts: [Int]
  }

  private let expertCount: Int
  private var sums: [String: Sum] = [:]

  init(expertCount: Int) { self.expertCount = expertCount }

  func observe(_ inputs: FloatMatrix, of weights: [String], expert: Int?) {
    let count = expert == nil ? 1 : expertCount
    for name in weights {
      let zeros = [Double](repeating: 0, count: inputs.columnCount)
      var sum =
        sums.removeValue(forKey: name)
        ?? Sum(
          squares: Array(repeating: zeros, count: count), counts: Array(repeating: 0, count: count))
      for row in 0..<inputs.rowCount {
        inputs.addSquares(row: row, to: &sum.squares[expert ?? 0])
      }
      sum.counts[expert ?? 0] += inputs.rowCount
      sums[name] = sum
    }
  }

  var entries: [ImportanceMatrix.Entry] {
    sums.map { name, sum in
      ImportanceMatrix.Entry(
        measured: name, sums: sum.squares.flatMap { $0.map { Float($0) } }, counts: sum.counts)
    }
  }
}
