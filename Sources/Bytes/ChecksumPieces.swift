internal import Kernels

/// Checksums of pieces of a file, which several threads read or write in whatever order.
struct ChecksumPieces {
  /// A stretch of the file whose checksum is known.
  struct Piece {
    /// Where it is.
    var range: Range<Int>
    /// The checksum of its bytes.
    var checksum: CRC32C
  }

  private let boundaries: Set<Int>
  private var pieces: [Piece] = []

  /// Pieces that may still grow: parts of a tensor, times blocks that workers are at.
  private static let openCount = 32
  /// Of a tensor whose rows lie across lines there would be a piece for each line of a block; those
  /// that no more are remembered of are read instead.
  private static let limit = 1 << 14

  /// No pieces; at each of `boundaries` a piece of its own will begin.
  init(boundaries: Set<Int> = []) { self.boundaries = boundaries }

  /// Adds a piece, or makes one longer that ends where it begins, as blocks of a tensor do.
  mutating func add(_ checksum: CRC32C, _ range: Range<Int>) {
    if !boundaries.contains(range.lowerBound) {
      for index in (max(0, pieces.count - Self.openCount)..<pieces.count).reversed()
      where pieces[index].range.upperBound == range.lowerBound {
        pieces[index].checksum.append(checksum, byteCount: range.count)
        pieces[index].range = pieces[index].range.lowerBound..<range.upperBound
        return
      }
    }
    guard pieces.count < Self.limit || !boundaries.isEmpty else { return }
    pieces.append(Piece(range: range, checksum: checksum))
  }

  /// The pieces by place; of two that begin together the longer one first.
  var sorted: [Piece] {
    pieces.sorted {
      ($0.range.lowerBound, $1.range.count) < ($1.range.lowerBound, $0.range.count)
    }
  }
}
