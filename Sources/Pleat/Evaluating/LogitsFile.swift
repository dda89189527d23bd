internal import Bytes
package import Kernels
internal import SystemPackage
public import TensorModel

/// A file of log probabilities that llama-perplexity wrote (`--kl-divergence-base`), or Pleat.
///
/// It has the tokens of a text, and what a model predicts in the second half of each chunk.
/// `formats/logits.md` describes it.
public struct LogitsFile: Sendable {
  /// The path as the user gave it.
  public let path: String
  /// The number of tokens of a chunk.
  public var contextLength: Int { layout.contextLength }
  /// The number of tokens that the model has.
  public var vocabularySize: Int { layout.vocabularySize }
  /// The number of chunks.
  public var chunkCount: Int { layout.chunkCount }
  /// The tokens of all chunks, as the text has them.
  package let tokens: [Int32]
  private let layout: LogitsLayout
  private let file: InputFile

  /// Opens a file; nil for anything that does not begin as such a file does.
  ///
  /// Throws `malformed` for a file with other lengths than its header states or impossible tokens,
  /// and `io`.
  public static func open(_ path: String) throws(ModelError) -> LogitsFile? {
    guard FileSystem.kind(of: FilePath(path)) == .file else { return nil }
    let file = try InputFile(FilePath(path))
    let magic = LogitsLayout.magic
    guard file.byteCount >= magic.count, try file.bytes(at: 0, count: magic.count) == magic else {
      return nil
    }
    return try LogitsFile(file)
  }

  private init(_ file: InputFile) throws(ModelError) {
    self.file = file
    path = file.path.string
    var reader = ByteReader(file, at: LogitsLayout.magic.count)
    var sizes: [Int] = []
    for what in ["context", "vocabulary", "number of chunks"] {
      sizes.append(Int(try reader.integer(UInt32.self, of: what)))
    }
    layout = try LogitsLayout(
      contextLength: sizes[0], vocabularySize: sizes[1], chunkCount: sizes[2], path: path)
    guard file.byteCount == layout.byteCount else {
      let isShort = file.byteCount < layout.byteCount
      throw ModelError(
        .malformed, "the file of log probabilities has another length than its header states",
        file: path, expected: "\(layout.byteCount) bytes", found: "\(file.byteCount)",
        hint: isShort ? "the run that wrote it was stopped: write it again" : nil)
    }
    var tokens: [Int32] = []
    tokens.reserveCapacity(layout.tokenCount)
    for index in 0..<layout.tokenCount {
      let token = try reader.integer(UInt32.self, of: "tokens")
      guard token < layout.vocabularySize else {
        throw ModelError(
          .malformed, "the file of log probabilities has a token that its vocabulary does not have",
          file: path, offset: layout.tokenOffset(index),
          expected: "0 to \(layout.vocabularySize - 1)",
          found: "\(Int32(bitPattern: token))")
      }
      tokens.append(Int32(token))
    }
    self.tokens = tokens
  }

  /// What the file predicts at some positions of a chunk: positions × vocabulary.
  ///
  /// Throws `malformed` for records that no logits have, and `io`.
  package func predictions(
    chunk: Int, positions: Range<Int>, targets: [Int32]
  ) throws(ModelError) -> Predictions {
    let offset = layout.offset(chunk: chunk, position: positions.lowerBound)
    let bytes = try file.bytes(at: offset, count: positions.count * layout.recordByteCount)
    let matrix = FloatMatrix(rowCount: positions.count, columnCount: vocabularySize)
    for row in 0..<positions.count {
      guard LogProbabilities.read(bytes, record: row, into: matrix, row: row) else {
        throw ModelError(
          .malformed, "the file has log probabilities that no model predicts", file: path,
          offset: offset + row * layout.recordByteCount)
      }
    }
    let losses = targets.enumerated().map { row, token in
      -Double(
        LogProbabilities.number(
          of: Int(token), bytes, record: row, tokenCount: vocabularySize))
    }
    return Predictions(logProbabilities: matrix, losses: losses)
  }

  /// Predictions of a file.
  package struct Predictions: Sendable {
    /// ln p of each token; where the file has less than −16, −10000.
    package var logProbabilities: FloatMatrix
    /// −ln p of the tokens of the text.
    package var losses: [Double]
  }

  /// Throws `io` if the file has been written since it was opened.
  func checkUnchanged() throws(ModelError) { try file.checkUnchanged() }

  /// Whether a path is that of the file.
  func isSame(as path: String) -> Bool { FileSystem.isSame(FilePath(path), file.path) }
}

/// The layout of a file of log probabilities.
struct LogitsLayout: Sendable {
  /// The bytes that such a file begins with.
  static let magic = Array("_logits_".utf8)

  let contextLength: Int
  let vocabularySize: Int
  let chunkCount: Int
  /// The length of the file.
  let byteCount: Int

  /// The position whose prediction is the first one of a chunk.
  var firstPosition: Int { contextLength / 2 }
  /// The number of predictions of a chunk.
  var predictionCount: Int { contextLength - 1 - firstPosition }
  /// The number of tokens of all chunks.
  var tokenCount: Int { chunkCount * contextLength }
  /// The length of a prediction.
  var recordByteCount: Int { LogProbabilities.byteCount(tokenCount: vocabularySize) }

  /// Throws `malformed` for sizes that a file cannot have.
  init(
    contextLength: Int, vocabularySize: Int, chunkCount: Int, path: String
  ) throws(ModelError) {
    self.contextLength = contextLength
    self.vocabularySize = vocabularySize
    self.chunkCount = chunkCount
    let limit = Int(Int32.max)
    let areSizes = [contextLength, vocabularySize, chunkCount].allSatisfy {
      (1...limit).contains($0)
    }
    let chunk = (contextLength - 1 - contextLength / 2).multipliedReportingOverflow(
      by: LogProbabilities.byteCount(tokenCount: vocabularySize))
    let each = chunk.partialValue.addingReportingOverflow(4 * contextLength)
    let all = each.partialValue.multipliedReportingOverflow(by: chunkCount)
    let whole = all.partialValue.addingReportingOverflow(Self.magic.count + 12)
    guard areSizes, contextLength > 2,
      ![chunk.overflow, each.overflow, all.overflow, whole.overflow].contains(true)
    else {
      throw ModelError(
        .malformed, "a file of log probabilities cannot have these sizes", file: path,
        expected: "a context of 3 tokens or more, a vocabulary, and a chunk",
        found: "\(contextLength), \(vocabularySize), \(chunkCount)")
    }
    byteCount = whole.partialValue
  }

  /// The offset of a token.
  func tokenOffset(_ index: Int) -> Int { Self.magic.count + 12 + 4 * index }

  /// The offset of the prediction of a position of a chunk.
  func offset(chunk: Int, position: Int) -> Int {
    let record = chunk * predictionCount + position - firstPosition
    return tokenOffset(tokenCount) + record * recordByteCount
  }

  /// What comes before the predictions.
  func header(_ tokens: [Int32]) -> [UInt8] {
    let sizes = [contextLength, vocabularySize, chunkCount].map { UInt32($0) }
    let numbers = sizes + tokens.map { UInt32(bitPattern: $0) }
    return Self.magic
      + numbers.flatMap { number in (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) } }
  }
}
