internal import Bytes
internal import Formats
internal import Kernels
internal import Synchronization
internal import TensorModel

/// Writes the blocks of a part into files that other parts write as well.
///
/// What is on disk is listed in the journal of the part, so that a later run need not write it.
final class PartSink: BlockSink {
  private let folder: PartFolder
  private let placement: FilePlacement
  private let journal: PartFolder.Journal
  private let indices: [Int]
  private let readLines: @Sendable () throws(ModelError) -> [String]
  private let state = Mutex(State())

  /// The number of bytes after which finished blocks are listed.
  private static let stepByteCount = 32 << 20

  private struct State {
    var files: [Int: OutputFile] = [:]
    var lines: [String] = []
    var byteCount = 0
    /// What a fold lost in blocks that are not written yet, by their tickets.
    var measurements: [Int: FoldMeasurement] = [:]
  }

  /// Creates a sink.
  ///
  /// - Parameters:
  ///   - folder: The folder of the parts.
  ///   - placement: Where stored tensors lie.
  ///   - journal: The journal of the part.
  ///   - indices: For each ticket, the index of the block among all blocks of the plan.
  ///   - readLines: Returns lines about what was read, which are listed with the blocks; throws
  ///     if no block that was read may be listed.
  init(
    _ folder: PartFolder, _ placement: FilePlacement, _ journal: PartFolder.Journal,
    indices: [Int], readLines: @escaping @Sendable () throws(ModelError) -> [String]
  ) {
    self.folder = folder
    self.placement = placement
    self.journal = journal
    self.indices = indices
    self.readLines = readLines
  }

  /// Notes what a fold lost in the block of a ticket, which will be listed with the block.
  func note(_ measurement: FoldMeasurement, ticket: Int) {
    state.withLock { $0.measurements[ticket] = measurement }
  }

  func write(_ block: [PartBlock], ticket: Int) throws(ModelError) {
    let fold = state.withLock { $0.measurements.removeValue(forKey: ticket) }
    var written = WrittenBlock(index: indices[ticket], pieces: [], fold: fold)
    for part in block {
      let location = placement.location(of: part.stored)
      let bytes = try part.bytes()
      let piece = WrittenBlock.Piece(
        stored: part.stored, offset: part.offset, byteCount: bytes.count,
        stripeCount: part.stripes?.count ?? 1, distance: part.stripes?.distance ?? 0,
        checksum: CRC32C(of: bytes.span))
      let file = try file(location.file)
      try file.write(bytes, in: part.stripes, at: location.offset + part.offset)
      written.pieces.append(piece)
    }
    let isDue = state.withLock { state in
      state.lines.append(written.line)
      state.byteCount += written.pieces.reduce(0) { $0 + $1.byteCount }
      return state.byteCount >= Self.stepByteCount
    }
    if isDue { try list() }
  }

  func writeCompanion(_ index: Int, at offset: Int, _ bytes: [UInt8]) {}

  /// Lists in the journal what was written, once it is on disk.
  ///
  /// Throws `usage` if another run has taken over the part; `io`, also if an input has changed.
  func list() throws(ModelError) {
    let (files, lines) = state.withLock { state in
      defer { (state.lines, state.byteCount) = ([], 0) }
      return (Array(state.files.values), state.lines)
    }
    for file in files { try file.synchronize() }
    try journal.add(lines + (try readLines()))
  }

  private func file(_ index: Int) throws(ModelError) -> OutputFile {
    if let file = state.withLock({ $0.files[index] }) { return file }
    let (name, byteCount) = placement.files[index]
    let file = try folder.open(name, byteCount: byteCount)
    return state.withLock { state in
      if let known = state.files[index] { return known }
      state.files[index] = file
      return file
    }
  }
}

extension PartBlock {
  /// The bytes of the block.
  ///
  /// Throws `io` if they cannot be read.
  fileprivate func bytes() throws(ModelError) -> [UInt8] {
    switch content {
    case .bytes(let bytes): bytes
    case .range(let file, let range): try file.bytes(at: range.lowerBound, count: range.count)
    }
  }
}
