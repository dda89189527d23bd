internal import Bytes
internal import Kernels
internal import SystemPackage
internal import TensorModel

/// An opened pleat file.
struct PleatFileReader: StoredReader {
  let stored: [StoredTensor]
  let metadata: Metadata
  let companions: [Companion]
  let files: [InputFile]
  let provenance: Provenance?
  let attached: [AttachedAdapter]
  private let file: InputFile
  private let header: PleatFileHeader
  private let headerOffset: Int
  private let parts: [PleatFileHeader.Part]  // of `stored`
  private let frameChecksums = FrameChecksums()

  init(_ files: ModelFiles, limits: ReadLimits) throws(ModelError) {
    guard files.files.count == 1 else { throw files.severalModels }
    let file = try InputFile(files.files[0])
    let path = file.path.string
    let preamble = try PleatFilePreamble(file)
    guard preamble.headerByteCount <= limits.headerByteCount else {
      throw ModelError(
        .limit, "the header is too large", file: path,
        expected: "at most \(limits.headerByteCount) bytes", found: "\(preamble.headerByteCount)")
    }
    let text = try file.bytes(at: preamble.headerOffset, count: preamble.headerByteCount)
    let found = CRC32C(of: text.span)
    guard found == preamble.headerChecksum else {
      throw ModelError(
        .malformed, "the header is damaged: its checksum does not match", file: path,
        offset: preamble.headerOffset, expected: preamble.headerChecksum.text, found: found.text)
    }
    let header = try PleatFileHeader(
      text, file: path, offset: preamble.headerOffset, limits: limits)
    try PleatFileExtents(header, end: preamble.headerOffset, path).check()
    metadata = try Self.metadata(header, file, limits)
    self.file = file
    self.header = header
    headerOffset = preamble.headerOffset
    self.files = [file]
    companions = header.companions.map { Companion(name: $0.name, byteCount: $0.part.byteCount) }
    provenance = header.provenance
    var stored: [StoredTensor] = []
    var parts: [PleatFileHeader.Part] = []
    var attached: [AttachedAdapter] = []
    func add(_ tensor: PleatFileHeader.Tensor) {
      for (description, part) in zip(PleatFileCodec().parts(of: tensor.info), tensor.parts) {
        var description = description
        if let frames = part.frames {
          description.blockByteCount = frames.blockByteCount
          description.storedByteCount = part.ranges.reduce(0) { $0 + $1.count }
        }
        stored.append(description)
        parts.append(part)
      }
    }
    header.tensors.forEach(add)
    for adapter in header.adapters {
      let first = stored.count
      adapter.tensors.forEach(add)
      attached.append(
        AttachedAdapter(
          name: adapter.name, kind: adapter.kind, config: adapter.config, pooling: adapter.pooling,
          checksum: adapter.checksum, stored: first..<stored.count))
    }
    self.attached = attached
    self.stored = stored
    self.parts = parts
  }

  func read(_ stored: Int, at offset: Int, into bytes: inout MutableRawSpan) throws(ModelError) {
    do throws(ModelError) { try read(parts[stored], at: offset, into: &bytes) } catch {
      throw error.located(file: file.path.string, tensor: self.stored[stored].name)
    }
  }

  func location(of stored: Int) -> StoredLocation? {
    let part = parts[stored]
    guard part.frames == nil else { return nil }
    return StoredLocation(file: file, offset: part.offset, checksum: part.checksum)
  }

  func copyLayout(
    _ options: WriteOptions, changing change: (Metadata) -> Metadata
  ) throws(ModelError) -> any OutputLayout {
    throw ModelError(
      .unsupported, "the metadata of a pleat file cannot be changed", file: file.path.string,
      hint: "change that of the model it was made from, or of what pleat convert makes of it")
  }

  func readCompanion(
    _ index: Int, at offset: Int, into bytes: inout MutableRawSpan
  ) throws(ModelError) {
    do throws(ModelError) {
      try read(header.companions[index].part, at: offset, into: &bytes)
    } catch {
      throw error.located(file: file.path.string, tensor: header.companions[index].name)
    }
  }

  func startChecking() {
    let parts = PleatFileExtents(header, end: 0, file.path.string).namedParts
    let raw = parts.filter { $0.part.frames == nil }.flatMap(\.part.ranges)
    file.startChecksum(boundaries: Set(raw.flatMap { [$0.lowerBound, $0.upperBound] }))
    frameChecksums.start()
  }

  func checkRead() throws(ModelError) {
    let parts = PleatFileExtents(header, end: 0, file.path.string).namedParts
    let raw = parts.filter { $0.part.frames == nil }.flatMap(\.part.ranges)
    var found = try file.checksums(of: raw)[...]
    for part in parts {
      let ranges = part.part.ranges
      var pieces = found.prefix(ranges.count)
      if let frames = part.part.frames {
        pieces = frameChecksums.checksums(of: frames)[...]
      } else {
        found = found.dropFirst(ranges.count)
      }
      // The metadata was read when the file was opened.
      guard pieces.contains(where: { $0 != nil }) || part.part == header.metadata.part else {
        continue
      }
      var checksum = CRC32C()
      for (range, piece) in zip(ranges, pieces) {
        guard let piece else {
          checksum = try self.checksum(part.part) { _ in }
          break
        }
        checksum.append(piece, byteCount: range.count)
      }
      if let fault = fault(part, checksum) { throw fault }
    }
  }

  /// The error for a part whose stored bytes have a wrong checksum; nil if it is right.
  private func fault(_ part: PleatFileExtents.NamedPart, _ found: CRC32C) -> ModelError? {
    guard found != part.part.checksum else { return nil }
    return ModelError(
      .malformed, "the \(part.role) are damaged: their checksum does not match",
      file: file.path.string, tensor: part.name, offset: part.part.firstOffset,
      expected: part.part.checksum.text, found: found.text)
  }

  /// The error for a part that cannot be decompressed although its checksum is right; otherwise nil.
  ///
  /// Throws `io`.
  private func undecodable(_ part: PleatFileExtents.NamedPart) throws(ModelError) -> ModelError? {
    guard let frames = part.part.frames else { return nil }
    var block = [UInt8](repeating: 0, count: min(frames.blockByteCount, part.part.byteCount))
    for start in stride(from: 0, to: part.part.byteCount, by: max(1, frames.blockByteCount)) {
      let range = 0..<min(block.count, part.part.byteCount - start)
      do throws(ModelError) {
        try block.change(range) { (span) throws(ModelError) in
          try read(part.part, at: start, into: &span)
        }
      } catch {
        if error.kind == .io { throw error }
        return error.located(file: file.path.string, tensor: part.name)
      }
    }
    return nil
  }

  func checkIntegrity(
    _ progress: (Int) throws(ModelError) -> Void
  ) throws(ModelError) -> Integrity {
    // The checksums of the preamble and the header were compared when the file was opened.
    var integrity = Integrity(checkedCount: 2)
    let extents = PleatFileExtents(header, end: 0, file.path.string)
    for part in extents.namedParts {
      let found = try checksum(part.part, progress)
      integrity.checkedCount += 1
      var fault = fault(part, found)
      if fault == nil { fault = try undecodable(part) }
      if let fault { integrity.faults.append(fault) }
    }
    for gap in extents.gaps(from: PleatFilePreamble.byteCount, to: headerOffset) {
      if let fault = try fault(inGap: gap) { integrity.faults.append(fault) }
    }
    return integrity
  }

  private static let chunkByteCount = 1 << 20

  /// The error for the first byte of a gap that is not zero; nil if all are zero.
  private func fault(inGap gap: Range<Int>) throws(ModelError) -> ModelError? {
    for start in stride(from: gap.lowerBound, to: gap.upperBound, by: Self.chunkByteCount) {
      let count = min(Self.chunkByteCount, gap.upperBound - start)
      let bytes = try file.bytes(at: start, count: count)
      guard let index = bytes.firstIndex(where: { $0 != 0 }) else { continue }
      return ModelError(
        .malformed, "the space between parts is not zero", file: file.path.string,
        offset: start + index, expected: "0", found: "\(bytes[index])")
    }
    return nil
  }

  private func checksum(
    _ part: PleatFileHeader.Part, _ progress: (Int) throws(ModelError) -> Void
  ) throws(ModelError) -> CRC32C {
    var checksum = CRC32C()
    for range in part.ranges {
      var position = range.lowerBound
      while position < range.upperBound {
        let count = min(Self.chunkByteCount, range.upperBound - position)
        let bytes = try file.bytes(at: position, count: count)
        checksum.update(bytes.span)
        position += count
        try progress(count)
      }
    }
    return checksum
  }

  private static func metadata(
    _ header: PleatFileHeader, _ file: InputFile, _ limits: ReadLimits
  ) throws(ModelError) -> Metadata {
    let part = header.metadata.part
    guard header.metadata.count > 0 else { return Metadata() }
    guard part.byteCount <= limits.metadataByteCount else {
      throw ModelError(.limit, "the metadata is too large", file: file.path.string)
    }
    var bytes = [UInt8](repeating: 0, count: part.byteCount)
    try bytes.change(bytes.indices) { (bytes) throws(ModelError) in
      try read(part, of: file, at: 0, into: &bytes, noting: { _, _, _ in })
    }
    return try GGUFMetadata.parse(bytes, count: header.metadata.count, file, limits)
  }

  private func read(
    _ part: PleatFileHeader.Part, at offset: Int, into bytes: inout MutableRawSpan
  ) throws(ModelError) {
    try Self.read(part, of: file, at: offset, into: &bytes, noting: frameChecksums.note)
  }

  /// Reads raw bytes, or decompresses the blocks that a range touches and passes them to `note`.
  private static func read(
    _ part: PleatFileHeader.Part, of file: InputFile, at offset: Int,
    into bytes: inout MutableRawSpan, noting note: (PleatFileHeader.Frames, Int, [UInt8]) -> Void
  ) throws(ModelError) {
    guard let frames = part.frames else {
      return try file.read(at: part.offset + offset, into: &bytes)
    }
    let end = offset + bytes.byteCount
    var position = offset
    while position < end {
      let index = position / frames.blockByteCount
      let start = index * frames.blockByteCount
      var block = [UInt8](
        repeating: 0, count: min(frames.blockByteCount, part.byteCount - start))
      let sizes = frames.sizes(index)
      let stored = try file.bytes(at: frames.offset(index), count: sizes.reduce(0, +))
      note(frames, index, stored)
      try PlaneCodec(planeCount: frames.planeCount).decode(stored, sizes: sizes, into: &block)
      let stop = min(end, start + block.count)
      copy(block[position - start..<stop - start], to: position - offset, in: &bytes)
      position = stop
    }
  }
}

/// Copies bytes into a span, from offset `start` on.
private func copy(_ source: ArraySlice<UInt8>, to start: Int, in bytes: inout MutableRawSpan) {
  precondition(start >= 0 && start + source.count <= bytes.byteCount, "the bytes fit")
  // The precondition ensures that the bytes are in bounds.
  unsafe bytes.withUnsafeMutableBytes {
    unsafe $0[start..<start + source.count].copyBytes(from: source)
  }
}

extension PleatFileHeader.Part {
  /// The ranges of the file that contain its stored bytes, in order.
  var ranges: [Range<Int>] {
    guard let frames else { return byteCount == 0 ? [] : [offset..<offset + byteCount] }
    return (0..<frames.blockCount).map {
      frames.offset($0)..<frames.offset($0) + frames.sizes($0).reduce(0, +)
    }
  }

  /// The offset of its first stored byte; 0 for an empty part.
  var firstOffset: Int { ranges.first?.lowerBound ?? 0 }
}
