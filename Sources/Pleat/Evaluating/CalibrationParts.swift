internal import Bytes
public import Formats
internal import Kernels
internal import SystemPackage
public import TensorModel

/// The measurement of an importance matrix in parts, on one or several machines.
///
/// Each part measures its own chunks, and keeps their sums in `sums-3` beside its journal in
/// `.name.parts`. `finish` adds them: the sums depend on no order, so that the matrix has the bytes
/// of one run. `formats/parts.md` describes the files.
public struct CalibrationParts: Sendable {
  private let calibration: Calibration
  private let others: [ImportanceMatrix]
  private let folder: PartFolder
  private let output: String
  /// A text that is equal only for parts of the same matrix.
  private let key: String

  /// Prepares parts of an output, to which other matrices will be added.
  ///
  /// Throws `io`.
  public init(
    of calibration: Calibration, to output: String, mergingInto others: [ImportanceMatrix] = []
  ) throws(ModelError) {
    self.calibration = calibration
    self.others = others
    self.output = output
    folder = PartFolder(for: FilePath(output))
    var lines = [calibration.key]
    for path in others.flatMap(\.paths) { lines.append(try InputFile(FilePath(path)).identity) }
    let text = Array(lines.joined(separator: "\n").utf8)
    key = "\(CRC32C(of: text.span).text) \(text.count)"
  }

  /// What a part has measured.
  public struct Outcome: Sendable {
    /// The number of chunks of the part.
    public let chunkCount: Int
    /// The number of chunks that earlier runs of the part had measured.
    public let keptChunkCount: Int
  }

  /// The chunks of a part: an equal share, to one chunk.
  static func chunks(of part: PartNumber, among count: Int) -> Range<Int> {
    count * (part.number - 1) / part.count..<count * part.number / part.count
  }

  private func state(of part: PartNumber) throws(ModelError) -> CalibrationState {
    try CalibrationState(
      at: folder.path.appending("sums-\(part.number)"), key: "\(part) \(key)",
      limit: Self.chunks(of: part, among: calibration.chunkCount).count)
  }

  /// Measures the chunks of a part that earlier runs of it have not measured.
  ///
  /// A run that fails keeps what it measured.
  ///
  /// - Parameters:
  ///   - part: The part.
  ///   - arguments: The arguments that make the matrix, which `pleat finish` uses.
  ///   - cancellation: May stop it.
  ///   - onNote: Called with notes for the user.
  ///   - onProgress: Called after each layer with the part that is done.
  /// - Returns: The number of chunks.
  /// - Throws: `usage` for parts of another matrix in the same place, and if another run measures
  ///   the same part; else what `Calibration.run` throws.
  public func run(
    _ part: PartNumber, arguments: [String], cancellation: Cancellation = Cancellation(),
    onNote: (String) -> Void = { _ in }, onProgress: ((Evaluation.Progress) -> Void)? = nil
  ) throws(ModelError) -> Outcome {
    try folder.prepare(
      .init(
        key: key, count: part.count, folder: FileSystem.workingFolder?.string ?? "",
        arguments: arguments))
    let chunks = Self.chunks(of: part, among: calibration.chunkCount)
    let journal = try PartFolder.Journal(
      of: part.number, in: folder, title: part.journalTitle(key: key), lines: [])
    let state = try state(of: part)
    if let note = state.note { onNote(note) }
    let outcome = Outcome(chunkCount: chunks.count, keptChunkCount: state.chunkCount)
    // A part without chunks has sums as well, so that it is not missing.
    if chunks.isEmpty { try state.save([:], chunkCount: 0) }
    do throws(ModelError) {
      _ = try calibration.measure(
        chunks, from: state, mergingInto: others, cancellation: cancellation,
        onProgress: onProgress
      ) { (count) throws(ModelError) in try journal.add(["chunks \(count)"]) }
    } catch {
      guard error.kind == .interrupted else { throw error }
      throw ModelError(
        .interrupted, "stopped on request; the same command goes on with the part")
    }
    return outcome
  }

  /// Checks that all parts are there and whole, adds them, and writes the matrix.
  ///
  /// A run that fails keeps the parts. Throws `usage` if parts are missing or not complete, or are
  /// those of another matrix, and if the output exists and must not be replaced; else what
  /// `Calibration.run` and writing throw.
  public func finish(
    replacing: Bool, cancellation: Cancellation = Cancellation()
  ) throws(ModelError) -> ImportanceCopy {
    guard let statement = try folder.statement() else {
      throw ModelError.noParts(folder.destination)
    }
    try folder.check(.init(key: key, count: statement.count, folder: "", arguments: []))
    let sums = calibration.sums()
    var missing: [Int] = []
    for number in 1...statement.count {
      if cancellation.isRequested { throw ModelError(.interrupted, "stopped on request") }
      let part = try PartNumber(number, of: statement.count)
      let state = try state(of: part)
      let count = Self.chunks(of: part, among: calibration.chunkCount).count
      guard FileSystem.kind(of: state.path) == .file, state.note == nil, state.chunkCount == count
      else {
        missing.append(number)
        continue
      }
      if missing.isEmpty { sums.add(state.sums) }
    }
    let error = statement.error(missing, "missing or not complete", folder.destination)
    if let error { throw error }
    let copy = try ImportanceCopy(of: others + [calibration.finished(sums)], to: output)
    // A run that was killed after it wrote the matrix has only left the parts.
    if try !copy.isWritten() { try copy.write(replacing: replacing) }
    folder.remove()
    return copy
  }
}
