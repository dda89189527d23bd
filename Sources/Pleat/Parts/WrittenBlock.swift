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
  /// What a fold lost in it; nil if it folds nothing.
  var fold: FoldMeasurement?

  init(index: Int, pieces: [Piece], fold: FoldMeasurement? = nil) {
    self.index = index
    self.pieces = pieces
    self.fold = fold
  }

  /// The line of the journal: `block`, the index, four numbers of a fold, and six for each piece.
  var line: String {
    pieces.reduce("block \(index)" + (fold.map { " " + $0.word } ?? "")) { text, piece in
      text + " \(piece.stored):\(piece.offset):\(piece.byteCount):\(piece.stripeCount):"
        + "\(piece.distance):\(piece.checksum.text)"
    }
  }

  /// Nil for a line that is something else.
  init?(line: String) {
    // A job has millions of lines. Bytes are split much faster than characters.
    let words = line.utf8.split(separator: UInt8(ascii: " ")).map { Substring($0) }
    guard words.count > 1, words[0] == "block", let index = Int(words[1]) else { return nil }
    var pieces: [Piece] = []
    let fold = words.count > 2 ? FoldMeasurement(word: words[2]) : nil
    for word in words.dropFirst(fold == nil ? 2 : 3) {
      let fields = word.utf8.split(separator: UInt8(ascii: ":")).map { Substring($0) }
      let numbers = fields.dropLast().compactMap { Int($0) }
      guard fields.count == 6, numbers.count == 5, numbers.allSatisfy({ $0 >= 0 }),
        let checksum = CRC32C(text: String(fields[5]))
      else { return nil }
      pieces.append(
        Piece(
          stored: numbers[0], offset: numbers[1], byteCount: numbers[2], stripeCount: numbers[3],
          distance: numbers[4], checksum: checksum))
    }
    self.init(index: index, pieces: pieces, fold: fold)
  }

  /// Whether it is a block of the job: complete, and within the tensors that the job writes.
  func belongs(to job: TensorJob, block: Int, _ stored: StoredTensors) -> Bool {
    guard job.foldsAdapters == (fold != nil) else { return false }
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

extension FoldMeasurement {
  /// The word of a journal: `fold` and four numbers, the sums as their bits.
  fileprivate var word: String {
    let sums = [sumOfSquaredErrors, sumOfSquares].map { String($0.bitPattern, radix: 16) }
    return "fold:\(sums[0]):\(sums[1]):\(codeCount):\(changedCodeCount)"
  }

  /// Nil for a word that is something else.
  fileprivate init?(word: Substring) {
    guard word.utf8.starts(with: "fold:".utf8) else { return nil }
    let fields = word.split(separator: ":")
    let sums = fields.dropFirst().prefix(2).compactMap { UInt64($0, radix: 16) }
    let counts = fields.dropFirst(3).compactMap { Int($0) }
    guard fields.count == 5, sums.count == 2, counts.count == 2,
      case let numbers = sums.map(Double.init(bitPattern:)),
      numbers.allSatisfy({ $0 >= 0 }), 0...(1 << 40) ~= counts[0], 0...counts[0] ~= counts[1]
    else { return nil }
    self.init()
    (sumOfSquaredErrors, sumOfSquares) = (numbers[0], numbers[1])
    (codeCount, changedCodeCount) = (counts[0], counts[1])
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
