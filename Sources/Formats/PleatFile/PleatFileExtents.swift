internal import TensorModel

/// The byte ranges of the parts of a pleat file.
struct PleatFileExtents {
  /// A part with its name and role, for messages.
  struct NamedPart {
    var name: String
    var role: String
    var part: PleatFileHeader.Part
  }

  let namedParts: [NamedPart]
  private let end: Int
  private let file: String

  /// Lists the parts of a header; all must lie between the preamble and `end`.
  init(_ header: PleatFileHeader, end: Int, _ file: String) {
    self.end = end
    self.file = file
    var parts = header.companions.map { NamedPart(name: $0.name, role: "bytes", part: $0.part) }
    parts.append(NamedPart(name: "metadata", role: "bytes", part: header.metadata.part))
    for tensor in header.tensors + header.adapters.flatMap(\.tensors) {
      for (role, part) in zip(tensor.roles, tensor.parts) {
        parts.append(NamedPart(name: tensor.info.name, role: role.rawValue, part: part))
      }
    }
    namedParts = parts
  }

  /// Throws `malformed` if a part lies outside, overlaps another part, or is not aligned.
  func check() throws(ModelError) {
    for named in namedParts { try checkNumbers(named) }
    var all: [(range: Range<Int>, part: Int)] = []
    all.reserveCapacity(namedParts.reduce(0) { $0 + ($1.part.frames?.blockCount ?? 1) })
    for (index, named) in namedParts.enumerated() {
      all += named.part.ranges.lazy.map { ($0, index) }
    }
    all.sort { $0.range.lowerBound < $1.range.lowerBound }
    for (left, right) in zip(all, all.dropFirst())
    where left.range.upperBound > right.range.lowerBound {
      throw ModelError(
        .malformed, "two parts overlap", file: file, tensor: namedParts[right.part].name,
        offset: right.range.lowerBound)
    }
  }

  // Checks each number before it is added to another one, so that no sum overflows.
  private func checkNumbers(_ named: NamedPart) throws(ModelError) {
    let part = named.part
    var pieces: [(offset: Int, size: Int)] = []
    if let frames = part.frames {
      for block in 0..<frames.blockCount {
        let length = min(
          frames.blockByteCount, part.byteCount - block * frames.blockByteCount)
        var offset = frames.offset(block)
        for size in frames.sizes(block) {
          guard size > 0, size <= length / frames.planeCount else {
            throw ModelError(
              .malformed, "a frame has an impossible size", file: file, tensor: named.name,
              expected: "1…\(length / frames.planeCount)", found: "\(size)")
          }
          pieces.append((offset, size))
          offset = offset > end ? end : offset + size
        }
      }
    } else if part.byteCount > 0 {
      pieces.append((part.offset, part.byteCount))
      guard part.offset % PleatFilePreamble.alignment == 0 else {
        throw ModelError(
          .malformed, "a part is not aligned", file: file, tensor: named.name,
          expected: "a multiple of \(PleatFilePreamble.alignment)", found: "\(part.offset)")
      }
    }
    for piece in pieces {
      guard piece.offset >= PleatFilePreamble.byteCount, piece.offset <= end,
        piece.size <= end - piece.offset
      else {
        throw ModelError(
          .malformed, "a part lies outside the file's data", file: file, tensor: named.name,
          expected: "bytes \(PleatFilePreamble.byteCount)…\(end)",
          found: "\(piece.size) bytes at \(piece.offset)")
      }
    }
  }

  /// The ranges between parts, which contain zeros.
  func gaps(from start: Int, to end: Int) -> [Range<Int>] {
    var gaps: [Range<Int>] = []
    var position = start
    for range in namedParts.flatMap(\.part.ranges).sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if range.lowerBound > position { gaps.append(position..<range.lowerBound) }
      position = max(position, range.upperBound)
    }
    if end > position { gaps.append(position..<end) }
    return gaps
  }
}
