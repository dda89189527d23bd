internal import Bytes
internal import Formats
internal import Kernels

/// A block that is on disk, as the journal of a part lists it.
struct WrittenBlock: Sendable, Hashable {
  /// Bytes of a stored tensor.
  struct Piece: Sendable, Hashable {
    /// The index of the stored tensor.
    var stored: Int
    /// The offset of the first byte in it.
    var offset: Int
    /// The number of bytes, in all stripes together.
    var byteCount: Int
    /// The number of stripes; 1 for bytes that follow one another.
    var stripeCount: Int
    /// The distance from one stripe to the next in bytes.
    var distance: Int
    /// The checksum of the bytes, stripe after stripe.
    var checksum: CRC32C

    /// The ranges in the stored tensor, stripe after stripe.
    var ranges: [Range<Int>] {
      let count = byteCount / stripeCount
      return (0..<stripeCount).map {
        offset + $0 * distance..<offset + $0 * distance + count
      }
    }
  }

  /// The index among all blocks of the plan.
  var index: Int
  var pieces: [Piece]

  init(index: Int, pieces: [Piece]) {
    self.index = index
    self.pieces = pieces
  }

  /// The line of the journal: `block`, the index, and six numbers for each piece.
  var line: String {
    pieces.reduce("block \(index)") { text, piece in
      text + " \(piece.stored):\(piece.offset):\(piece.byteCount):\(piece.stripeCount):"
        + "\(piece.distance):\(piece.checksum.text)"
    }
  }

  /// Nil for a line that is something else.
  init?(line: String) {
    let words = line.split(separator: " ")
    guard words.count > 1, words[0] == "block", let index = Int(words[1]) else { return nil }
    var pieces: [Piece] = []
    for word in words.dropFirst(2) {
      let fields = word.split(separator: ":")
      let numbers = fields.dropLast().compactMap { Int($0) }
      guard fields.count == 6, numbers.count == 5, numbers.allSatisfy({ $0 >= 0 }),
        let checksum = CRC32C(text: String(fields[5]))
      else { return nil }
      pieces.append(
        Piece(
          stored: numbers[0], offset: numbers[1], byteCount: numbers[2], stripeCount: numbers[3],
          distance: numbers[4], checksum: checksum))
    }
    self.init(index: index, pieces: pieces)
  }

  /// Whether it is a block of the job: complete, and within the tensors that the job writes.
  func belongs(to job: TensorJob, block: Int, _ stored: [StoredTensor]) -> Bool {
    var byteCount = 0
    for piece in pieces {
      guard job.place.storedIndices.contains(piece.stored), piece.stripeCount > 0,
        piece.byteCount % piece.stripeCount == 0
      else { return false }
      let tensor = stored[piece.stored].byteCount
      let (last, overflows) = piece.distance.multipliedReportingOverflow(by: piece.stripeCount - 1)
      guard !overflows, last <= tensor, piece.offset <= tensor, piece.byteCount <= tensor,
        piece.offset + last + piece.byteCount / piece.stripeCount <= tensor
      else { return false }
      byteCount += piece.byteCount
    }
    return byteCount == job.targetByteCount(of: block)
  }
}

/// A range of a source file that a part has read, with its checksum.
struct ReadRange: Sendable, Hashable {
  /// The index of the file.
  var file: Int
  var range: Range<Int>
  var checksum: CRC32C

  init(file: Int, range: Range<Int>, checksum: CRC32C) {
    (self.file, self.range, self.checksum) = (file, range, checksum)
  }

  /// The line of the journal: `source`, the file, the bounds of the range and the checksum.
  var line: String {
    "source \(file) \(range.lowerBound) \(range.upperBound) \(checksum.text)"
  }

  /// Nil for a line that is something else.
  init?(line: String) {
    let words = line.split(separator: " ").map(String.init)
    guard words.count == 5, words[0] == "source", let file = Int(words[1]),
      let start = Int(words[2]), let end = Int(words[3]), start >= 0, end >= start,
      let checksum = CRC32C(text: words[4])
    else { return nil }
    self.init(file: file, range: start..<end, checksum: checksum)
  }
}
