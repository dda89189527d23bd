package import Kernels

/// The checksums of tensors, whose bytes threads write or read piece by piece, in any order.
///
/// Joined pieces take 12 bytes a tensor.
package struct TensorChecksums: Sendable {
  private var checksums: [CRC32C]  // of the bytes of each tensor that are known without a gap
  private var ends: [Int]  // of each tensor: the offset after these bytes
  private var waiting: [Place: Piece] = [:]  // pieces behind a gap

  private struct Place: Sendable, Hashable {
    var tensor: Int
    var offset: Int
  }

  private struct Piece: Sendable {
    var checksum: CRC32C
    var end: Int
    var byteCount: Int
  }

  /// Creates the checksums of so many tensors, of which no bytes are known yet.
  package init(count: Int) {
    checksums = Array(repeating: CRC32C(), count: count)
    ends = Array(repeating: 0, count: count)
  }

  /// The number of tensors.
  package var count: Int { checksums.count }

  /// The checksum of a tensor.
  package internal(set) subscript(tensor: Int) -> CRC32C {
    get { checksums[tensor] }
    set { checksums[tensor] = newValue }
  }

  /// The number of bytes of a tensor that are known without a gap.
  func byteCount(of tensor: Int) -> Int { ends[tensor] }

  /// Adds the checksum of a range of the bytes of a tensor, which is added once.
  ///
  /// `byteCount` is the number of bytes that the checksum is for, if they are compressed.
  package mutating func add(
    _ checksum: CRC32C, _ range: Range<Int>, of tensor: Int, byteCount: Int? = nil
  ) {
    let piece = Piece(
      checksum: checksum, end: range.upperBound, byteCount: byteCount ?? range.count)
    guard ends[tensor] == range.lowerBound else {
      waiting[Place(tensor: tensor, offset: range.lowerBound)] = piece
      return
    }
    join(piece, to: tensor)
    while !waiting.isEmpty,
      let next = waiting.removeValue(forKey: Place(tensor: tensor, offset: ends[tensor]))
    {
      join(next, to: tensor)
    }
  }

  private mutating func join(_ piece: Piece, to tensor: Int) {
    checksums[tensor].append(piece.checksum, byteCount: piece.byteCount)
    ends[tensor] = piece.end
  }
}
