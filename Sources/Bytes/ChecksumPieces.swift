package import Kernels

/// The known checksums of pieces of a file, which threads read or write in any order.
package struct ChecksumPieces: Sendable {
  /// A range whose checksum is known.
  package struct Piece: Sendable {
    /// The byte range.
    package var range: Range<Int>
    /// The checksum of these bytes.
    package var checksum: CRC32C
  }

  private let boundaries: Set<Int>
  private let limit: Int
  private var pieces: [Piece] = []

  /// How many of the newest pieces can still grow.
  ///
  /// It covers the parts of a tensor, times the blocks that workers are writing at the moment. If it
  /// does not, more pieces are stored, with the same checksums.
  private static let openCount = 32
  /// The largest number of pieces of a file without boundaries.
  ///
  /// A tensor stored in stripes would need one piece for each stripe of a block. Beyond this limit
  /// checksums are recomputed by reading the file.
  private static let fileLimit = 1 << 14

  /// Creates an empty list; a piece that begins at one of `boundaries` is never joined to another.
  init(boundaries: Set<Int> = []) {
    self.boundaries = boundaries
    limit = boundaries.isEmpty ? Self.fileLimit : .max
  }

  /// Adds the checksum of a range, and joins it to a recent piece that ends where the range begins.
  ///
  /// The blocks of a tensor become one piece in this way.
  package mutating func add(_ checksum: CRC32C, _ range: Range<Int>) {
    if !boundaries.contains(range.lowerBound) {
      for index in (max(0, pieces.count - Self.openCount)..<pieces.count).reversed()
      where pieces[index].range.upperBound == range.lowerBound {
        pieces[index].checksum.append(checksum, byteCount: range.count)
        pieces[index].range = pieces[index].range.lowerBound..<range.upperBound
        return
      }
    }
    guard pieces.count < limit else { return }
    pieces.append(Piece(range: range, checksum: checksum))
  }

  /// Removes all pieces, and returns them as `sorted` does.
  mutating func take() -> [Piece] {
    defer { pieces = [] }
    return sorted
  }

  /// The pieces by offset; of pieces with the same offset the longest comes first.
  package var sorted: [Piece] {
    pieces.sorted {
      ($0.range.lowerBound, $1.range.count) < ($1.range.lowerBound, $0.range.count)
    }
  }
}
