internal import Bytes
internal import Kernels
internal import Synchronization
internal import SystemPackage
internal import TensorModel

/// Writes the file that a `PleatFileLayout` has planned.
///
/// Without compression, blocks are written to their planned offsets in any order. With compression,
/// offsets are allocated when blocks are appended, in plan order. The first block of a part decides
/// whether the part is compressed.
final class PleatFileWriter: TensorSink {
  private let layout: PleatFileLayout
  private let staging: Staging
  private let file: OutputFile
  private let state: Mutex<State>
  private let turnstile = Turnstile()
  private let compressor = ZstdCompressor()

  private struct State {
    // Of a compressed file; otherwise parts are as planned.
    var parts: [PleatFileHeader.Part]
    var isAllocated: [Bool]
    var end = PleatFilePreamble.byteCount
    var checksums: TensorChecksums  // of the parts before the first stored tensor
    var storedChecksums: TensorChecksums
    var tensorByteCount = 0  // of the model itself

    /// A part as it was written.
    func part(_ index: Int, of layout: PleatFileLayout) -> PleatFileHeader.Part {
      var part = parts.isEmpty ? layout.part(index) : parts[index]
      let tensor = index - layout.firstStored
      part.checksum = tensor < 0 ? checksums[index] : storedChecksums[tensor]
      return part
    }
  }

  convenience init(_ layout: PleatFileLayout, replacing: Bool) throws(ModelError) {
    let staging = try Staging(
      layout.options.path, isFolder: false, names: layout.fileNames, replacing: replacing)
    try self.init(layout, staging, TensorChecksums(count: layout.contents.stored.count))
    try file.reserve(layout.leastByteCount)
    try writeMetadata()
  }

  /// Takes over a file that parts have filled; `checksums` are those of its stored tensors.
  convenience init(
    _ layout: PleatFileLayout, finishing parts: PartFolder, knowing checksums: TensorChecksums,
    replacing: Bool
  ) throws(ModelError) {
    let staging = try Staging(
      finishing: parts, isFolder: false, names: layout.fileNames, filled: layout.fileNames,
      replacing: replacing)
    try self.init(layout, staging, checksums)
    let stated = Set(layout.contents.checksums.map(\.stored))
    let model = 0..<layout.contents.modelStoredCount
    state.withLock { state in
      // Tensors with a stated checksum are counted when that is set, as when one run copies them.
      state.tensorByteCount = model.reduce(0) {
        stated.contains($1) ? $0 : $0 + checksums.byteCount(of: $1)
      }
    }
    try writeMetadata()
  }

  private init(
    _ layout: PleatFileLayout, _ staging: Staging, _ storedChecksums: TensorChecksums
  ) throws(ModelError) {
    self.layout = layout
    self.staging = staging
    let parts = layout.options.compresses ? layout.offsets.indices.map(layout.part) : []
    state = Mutex(
      State(
        parts: parts, isAllocated: Array(repeating: false, count: parts.count),
        checksums: TensorChecksums(count: layout.firstStored),
        storedChecksums: storedChecksums))
    file = try staging.create(layout.options.path.name, byteCount: layout.byteCount)
  }

  private func writeMetadata() throws(ModelError) {
    for start in stride(from: 0, to: layout.metadata.count, by: PleatFileLayout.chunkByteCount) {
      let end = min(start + PleatFileLayout.chunkByteCount, layout.metadata.count)
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
      if part.offset > 0 { try waitUntilAllocated(index) }
      guard case .bytes(let bytes) = part.content else {
        preconditionFailure("bytes to compress must be in memory")
      }
      encoded.append(
        (index, part.offset, bytes, compressed(index, bytes, isFirst: part.offset == 0)))
    }
    let starts = try turnstile.pass(ticket) { () throws(ModelError) in
      encoded.map { allocate($0.index, at: $0.offset, $0.bytes.count, $0.planes) }
    }
    for (start, item) in zip(starts, encoded) {
      try append(item.index, item.bytes, item.planes, at: item.offset, start)
    }
  }

  func writeCompanion(_ index: Int, at offset: Int, _ bytes: [UInt8]) throws(ModelError) {
    try writeInOrder(layout.firstCompanion + index, at: offset, bytes)
  }

  func abandon() { turnstile.abandon() }

  func seal(sources: [SourceFile]) throws(ModelError) -> WrittenSize {
    let written = state.withLock { state in
      // Bytes that were copied without being read have the checksum that their file states.
      for (index, checksum) in layout.contents.checksums {
        state.storedChecksums[index] = checksum
        if index < layout.contents.modelStoredCount {
          state.tensorByteCount += layout.contents.stored[index].byteCount
        }
      }
      return state
    }
    let headerOffset =
      layout.options.compresses
      ? written.end.aligned(to: PleatFilePreamble.alignment) : layout.headerOffset
    let preamble = try writeHeader(
      PleatFileHeaderText(layout, sources: sources) { [layout] in
        written.part($0, of: layout)
      },
      at: headerOffset)
    try file.write(preamble.bytes, at: 0)
    try staging.synchronize()
    return WrittenSize(
      byteCount: preamble.fileByteCount, tensorByteCount: written.tensorByteCount)
  }

  /// Writes the header in pieces, because it may be long.
  private func writeHeader(
    _ text: PleatFileHeaderText, at offset: Int
  ) throws(ModelError) -> PleatFilePreamble {
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
      if piece.count >= PleatFileLayout.chunkByteCount { try flush() }
    }
    try flush()
    return PleatFilePreamble(
      headerOffset: offset, headerByteCount: written, headerChecksum: checksum)
  }

  var sealedPath: FilePath { staging.path(of: layout.options.path.name) }

  func publish() throws(ModelError) { try staging.publish() }

  // MARK: - Raw parts

  private func writeRaw(_ index: Int, _ part: PartBlock) throws(ModelError) {
    try file.write(part, at: layout.offsets[index])
    guard case .bytes(let bytes) = part.content else { return }
    record(index, part.offset..<part.offset + bytes.count, bytes)
  }

  /// Records the checksum of the stored bytes of a range of a part.
  private func record(_ index: Int, _ range: Range<Int>, _ stored: [UInt8]) {
    let checksum = CRC32C(of: stored.span)
    let tensor = index - layout.firstStored
    state.withLock { state in
      guard tensor >= 0 else {
        return state.checksums.add(checksum, range, of: index, byteCount: stored.count)
      }
      state.storedChecksums.add(checksum, range, of: tensor, byteCount: stored.count)
      if tensor < layout.contents.modelStoredCount { state.tensorByteCount += stored.count }
    }
  }

  // MARK: - Compressed parts

  /// Writes companions and metadata; one thread calls it, in order, before any other block.
  private func writeInOrder(
    _ index: Int, at offset: Int, _ bytes: [UInt8]
  ) throws(ModelError) {
    let part = PartBlock(stored: 0, offset: offset, bytes: bytes)
    guard layout.options.compresses else { return try writeRaw(index, part) }
    let planes = compressed(index, bytes, isFirst: offset == 0)
    let start = allocate(index, at: offset, bytes.count, planes)
    try append(index, bytes, planes, at: offset, start)
  }

  /// Waits until the first block of a part has decided whether the part is compressed.
  private func waitUntilAllocated(_ index: Int) throws(ModelError) {
    try turnstile.look(when: { state.withLock { $0.isAllocated[index] } }, {})
  }

  /// Compresses a block; nil if its part is stored raw.
  ///
  /// A part is stored raw if compression saves less than 3 % of its first block.
  private func compressed(_ index: Int, _ bytes: [UInt8], isFirst: Bool) -> PlaneCodec.Encoded? {
    if !isFirst && state.withLock({ $0.parts[index].frames == nil }) { return nil }
    let codec = PlaneCodec(planeCount: layout.planeCount(index))
    let planes = codec.encode(bytes, with: compressor)
    return isFirst && planes.bytes.count * 100 > bytes.count * 97 ? nil : planes
  }

  /// Allocates the bytes of a block in the file, and returns their offset.
  ///
  /// Called in plan order.
  private func allocate(
    _ index: Int, at offset: Int, _ count: Int, _ planes: PlaneCodec.Encoded?
  ) -> Int {
    state.withLock { state in
      if !state.isAllocated[index] {
        state.isAllocated[index] = true
        if planes == nil {
          let start = state.end.aligned(to: PleatFilePreamble.alignment)
          state.parts[index].offset = start
          state.end = start + state.parts[index].byteCount
        } else {
          var frames = PleatFileHeader.Frames(
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
    _ index: Int, _ bytes: [UInt8], _ planes: PlaneCodec.Encoded?, at offset: Int, _ start: Int
  ) throws(ModelError) {
    let stored = planes?.bytes ?? bytes
    try file.write(stored, at: start)
    record(index, offset..<offset + bytes.count, stored)
  }
}
