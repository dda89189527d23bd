internal import Bytes
internal import Kernels
internal import Network
internal import SystemPackage
internal import TensorModel

/// Writes what a model predicts to a file that `LogitsFile` and llama-perplexity read.
///
/// Released before `publish`, it leaves no file.
final class LogitsWriting: Sendable {
  private let layout: LogitsLayout
  private let staging: Staging
  private let file: OutputFile
  private let path: String

  /// Begins a file with the tokens of a text.
  ///
  /// Throws `io`, and `usage` if the file exists and must not be replaced.
  init(
    _ layout: LogitsLayout, tokens: [Int32], to path: String, replacing: Bool
  ) throws(ModelError) {
    self.layout = layout
    self.path = path
    let name = FilePath(path).name
    staging = try Staging(FilePath(path), isFolder: false, names: [name], replacing: replacing)
    file = try staging.create(name, byteCount: layout.byteCount)
    try file.reserve(layout.byteCount)
    try file.write(layout.header(tokens), at: 0)
  }

  /// Writes predictions of a chunk from a position on.
  ///
  /// Throws `malformed` for logits that are not finite, and `io`.
  func write(
    _ logits: FloatMatrix, chunk: Int, position: Int, by workers: Workers
  ) throws(ModelError) {
    let records = try workers.map(logits.rowCount) { row in
      LogProbabilities.record(of: logits, row: row)
    }
    for (row, record) in records.enumerated() {
      guard let record else {
        throw ModelError(
          .malformed, "the model predicts numbers that are not finite, which a file cannot hold",
          file: path, found: "those of chunk \(chunk), position \(position + row)")
      }
      try file.write(record, at: layout.offset(chunk: chunk, position: position + row))
    }
  }

  /// Gives the complete file its name.
  ///
  /// Throws `io`.
  func publish() throws(ModelError) {
    try staging.synchronize()
    try staging.publish()
  }
}
