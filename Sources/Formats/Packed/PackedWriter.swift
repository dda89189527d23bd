internal import Bytes
internal import Kernels
internal import Synchronization
internal import SystemPackage
internal import TensorModel

/// Writes the file that a `PackedLayout` has planned.
///
/// Raw parts go to their planned places in any order. With compression the places become known as
/// frames are appended, in plan order: the first block of a part decides whether it is worth it.
final class PackedWriter: TensorSink {
  private let layout: PackedLayout
  private let staging: Staging
  private let file: OutputFile
  private let state: Mutex<State>
  private let turnstile = Turnstile()
  private let compressor = ZstdCompressor()

  /// A stretch of a part that was written, for the part's checksum.
  private struct Piece {
    var part: Int
    var range: Range<Int>
    var storedByteCount: Int
    var checksum: CRC32C
  }

  /// Pieces that may still grow: parts of a tensor, times blocks that workers write at once.
  private static let openPieceCount = 32

  private struct State {
    var parts: [PackedHeader.Part]
    var isPlaced: [Bool]
    var pieces: [Piece] = []
    var end = PackedPreamble.byteCount
  }

  init(_ layout: PackedLayout, replacing: Bool) throws(ModelError) {
    self.layout = layout
    let isPlaced = Array(repeating: !layout.options.compresses, count: layout.parts.count)
    state = Mutex(State(parts: layout.parts, isPlaced: isPlaced))
    staging = try Staging(
      layout.options.path, isFolder: false, names: layout.fileNames, replacing: replacing)
    file = try staging.create(layout.options.path.name, byteCount: layout.byteCount)
    try file.reserve(layout.leastByteCount)
    for start in stride(from: 0, to: layout.metadata.count, by: PackedLayout.chunkByteCount) {
      let end = min(start + PackedLayout.chunkByteCount, layout.metadata.count)
      try writeInOrder(layout.metadataIndex, at: start, Array(layout.metadata[start..<end]))
    }
  }

  func write(_ block: [PartBlock], ticket: Int) throws(ModelError) {
    guard layout.options.compresses else {
      for part in block { try writeRaw(layout.firstStored + part.stored, part) }
      return
    }
    var encoded: [(index: Int, offset: Int, bytes: [UInt8], planes: PlaneCodec.Encoded?)] = []
    for part in block {
      let index = layout.firstStored + part.stored
      if part.offset > 0 { try waitUntilPlaced(index) }
      guard case .bytes(let bytes) = part.content else {
        preconditionFailure("what is compressed has to be read")
      }
      encoded.append(
        (index, part.offset, bytes, compressed(index, bytes, isFirst: part.offset == 0)))
    }
    let places = try turnstile.pass(ticket) { () throws(ModelError) in
      encoded.map { place($0.index, at: $0.offset, $0.bytes.count, $0.planes) }
    }
    for (place, item) in zip(places, encoded) {
      try append(item.index, item.bytes, item.planes, at: item.offset, place)
    }
  }

  func writeCompanion(_ index: Int, at offset: Int, _ bytes: [UInt8]) throws(ModelError) {
    try writeInOrder(layout.firstCompanion + index, at: offset, bytes)
  }

  func abandon() { turnstile.abandon() }

  func seal(sources: [SourceFile]) throws(ModelError) -> WrittenSize {
    let (parts, end, tensorByteCount) = state.withLock { state in
      state.pieces.sort { ($0.part, $0.range.lowerBound) < ($1.part, $1.range.lowerBound) }
      var tensorByteCount = 0
      let model = layout.firstStored..<layout.firstStored + layout.contents.modelStoredCount
      for piece in state.pieces {
        state.parts[piece.part].checksum.append(piece.checksum, byteCount: piece.storedByteCount)
        if model.contains(piece.part) { tensorByteCount += piece.storedByteCount }
      }
      // Bytes that were copied unread have the checksum that their file states.
      for (index, stored) in layout.contents.stored.enumerated() {
        guard let checksum = stored.checksum else { continue }
        state.parts[layout.firstStored + index].checksum = checksum
        if index < layout.contents.modelStoredCount { tensorByteCount += stored.byteCount }
      }
      return (state.parts, state.end, tensorByteCount)
    }
    let headerOffset =
      layout.options.compresses
      ? end.aligned(to: PackedPreamble.alignment) : layout.headerOffset
    let preamble = try writeHeader(
      PackedHeaderText(layout, parts: parts, sources: sources), at: headerOffset)
    try file.write(preamble.bytes, at: 0)
    try staging.synchronize()
    return WrittenSize(byteCount: preamble.fileByteCount, tensorByteCount: tensorByteCount)
  }

  /// Writes the header, which may be long, piece by piece.
  private func writeHeader(
    _ text: PackedHeaderText, at offset: Int
  ) throws(ModelError) -> PackedPreamble {
    var checksum = CRC32C()
    var (written, piece): (Int, [UInt8]) = (0, [])
    func flush() throws(ModelError) {
      checksum.update(piece.span)
      try file.write(piece, at: offset + written)
      written += piece.count
      piece.removeAll(keepingCapacity: true)
    }
    try text.write { (bytes) throws(ModelError) in
      piece += bytes
      if piece.count >= PackedLayout.chunkByteCount { try flush() }
    }
    try flush()
    return PackedPreamble(
      headerOffset: offset, headerByteCount: written, headerChecksum: checksum)
  }

  var sealedPath: FilePath { staging.path(of: layout.options.path.name) }

  func publish() throws(ModelError) { try staging.publish() }

  // MARK: - Raw parts

  private func writeRaw(_ index: Int, _ part: PartBlock) throws(ModelError) {
    try file.write(part, at: layout.parts[index].offset)
    guard case .bytes(let bytes) = part.content else { return }
    record(index, part.offset..<part.offset + bytes.count, bytes)
  }

  /// Remembers the checksum of a range of a part, stored as some bytes.
  private func record(_ index: Int, _ range: Range<Int>, _ stored: [UInt8]) {
    let piece = Piece(
      part: index, range: range, storedByteCount: stored.count,
      checksum: CRC32C(of: stored.span))
    state.withLock { state in
      let count = state.pieces.count
      for place in (max(0, count - Self.openPieceCount)..<count).reversed()
      where state.pieces[place].part == index
        && state.pieces[place].range.upperBound == range.lowerBound
      {
        state.pieces[place].checksum.append(piece.checksum, byteCount: piece.storedByteCount)
        state.pieces[place].range = state.pieces[place].range.lowerBound..<range.upperBound
        state.pieces[place].storedByteCount += piece.storedByteCount
        return
      }
      state.pieces.append(piece)
    }
  }

  // MARK: - Compressed parts

  /// Companions and metadata, which one thread writes before all else, in order.
  private func writeInOrder(
    _ index: Int, at offset: Int, _ bytes: [UInt8]
  ) throws(ModelError) {
    let part = PartBlock(stored: 0, offset: offset, bytes: bytes)
    guard layout.options.compresses else { return try writeRaw(index, part) }
    let planes = compressed(index, bytes, isFirst: offset == 0)
    let place = place(index, at: offset, bytes.count, planes)
    try append(index, bytes, planes, at: offset, place)
  }

  private func waitUntilPlaced(_ index: Int) throws(ModelError) {
    try turnstile.look(when: { state.withLock { $0.isPlaced[index] } }, {})
  }

  /// The planes to store: nil for a raw part, which a first block becomes by gaining under 3 %.
  private func compressed(_ index: Int, _ bytes: [UInt8], isFirst: Bool) -> PlaneCodec.Encoded? {
    if !isFirst && state.withLock({ $0.parts[index].frames == nil }) { return nil }
    let codec = PlaneCodec(planeCount: layout.planeCount(index))
    let planes = codec.encode(bytes, with: compressor)
    return isFirst && planes.bytes.count * 100 > bytes.count * 97 ? nil : planes
  }

  /// Gives a block its place in the file.
  ///
  /// Called in plan order.
  private func place(_ index: Int, at offset: Int, _ count: Int, _ planes: PlaneCodec.Encoded?)
    -> Int
  {
    state.withLock { state in
      if !state.isPlaced[index] {
        state.isPlaced[index] = true
        if planes == nil {
          let start = state.end.aligned(to: PackedPreamble.alignment)
          state.parts[index].offset = start
          state.end = start + state.parts[index].byteCount
        } else {
          var frames = PackedHeader.Frames(
            blockByteCount: layout.blockByteCount(index), planeCount: layout.planeCount(index))
          let blockCount =
            (state.parts[index].byteCount + frames.blockByteCount - 1) / frames.blockByteCount
          frames.table.reserveCapacity(blockCount * (1 + frames.planeCount))
          state.parts[index].frames = frames
        }
      }
      guard let planes else { return state.parts[index].offset + offset }
      let start = state.end
      state.parts[index].frames?.table.append(start)
      state.parts[index].frames?.table += planes.sizes
      state.end += planes.bytes.count
      return start
    }
  }

  private func append(
    _ index: Int, _ bytes: [UInt8], _ planes: PlaneCodec.Encoded?, at offset: Int, _ place: Int
  ) throws(ModelError) {
    let stored = planes?.bytes ?? bytes
    try file.write(stored, at: place)
    record(index, offset..<offset + bytes.count, stored)
  }
}
