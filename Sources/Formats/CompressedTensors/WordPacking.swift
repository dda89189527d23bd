internal import Bytes
internal import Kernels

/// How compressed-tensors packs numbers into 32-bit words.
///
/// Both packings are the same for numbers of 2, 4 and 8 bits.
enum WordPacking: Sendable, Hashable {
  /// Numbers cross word boundaries: since version 0.18.
  case dense
  /// A word contains only whole numbers: before version 0.18.
  case wholeNumbers

  /// The number of words that `count` numbers take.
  func wordCount(_ count: Int, bits: Int) -> Int {
    switch self {
    case .dense: (count * bits + 31) / 32
    case .wholeNumbers: (count + 32 / bits - 1) / (32 / bits)
    }
  }

  /// The smallest count of numbers that fills whole words, and the count of these words.
  func step(bits: Int) -> (numbers: Int, words: Int) {
    guard self == .dense else { return (32 / bits, 1) }
    // The largest power of two in `bits` is its greatest common divisor with 32.
    let common = bits & -bits
    return (32 / common, bits / common)
  }

  /// Unpacks rows of words into codes, one row after the other.
  func unpack(_ bytes: ArraySlice<UInt8>, bits: Int, rows: Int, into codes: inout [UInt8]) {
    guard self == .wholeNumbers, 32 % bits != 0, rows > 0 else {
      var target = codes.mutableSpan
      return BitPacking(bits: bits).unpack(bytes.span, rows: rows, into: &target)
    }
    let columns = codes.count / rows
    let (perWord, mask) = (32 / bits, UInt32(1) << UInt32(bits) - 1)
    let rowByteCount = wordCount(columns, bits: bits) * 4
    var target = codes.mutableSpan
    // Every bit pattern is a valid integer, and each load checks its bounds.
    let source = unsafe bytes.span.bytes
    for row in 0..<rows {
      for first in stride(from: 0, to: columns, by: perWord) {
        let offset = row * rowByteCount + first / perWord * 4
        var word = unsafe source.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self)
        for column in first..<min(columns, first + perWord) {
          target[row * columns + column] = UInt8(truncatingIfNeeded: word & mask)
          word >>= UInt32(bits)
        }
      }
    }
  }
}

/// Packs zero points along the rows of a weight: each row of words has one word for each group.
extension WordPacking {
  /// Fills rows × groups zero points from rows of words that begin with the first row.
  func unpackZeros(
    _ bytes: ArraySlice<UInt8>, bits: Int, rows: Int, into zeros: inout [Float]
  ) {
    guard rows > 0, !zeros.isEmpty else { return }
    let groups = zeros.count / rows
    let words = wordCount(rows, bits: bits)
    var transposed = [UInt8](repeating: 0, count: groups * words * 4)
    let start = bytes.startIndex
    for word in 0..<words {
      for group in 0..<groups {
        let (from, to) = (start + (word * groups + group) * 4, (group * words + word) * 4)
        for byte in 0..<4 { transposed[to + byte] = bytes[from + byte] }
      }
    }
    var codes = [UInt8](repeating: 0, count: zeros.count)
    unpack(transposed[...], bits: bits, rows: groups, into: &codes)
    for row in 0..<rows {
      for group in 0..<groups { zeros[row * groups + group] = Float(codes[group * rows + row]) }
    }
  }

  /// Packs rows × groups zero points densely into rows of words.
  static func packedZeros(_ zeros: [Float], bits: Int, rows: Int) -> [UInt8] {
    guard rows > 0, !zeros.isEmpty else { return [] }
    let groups = zeros.count / rows
    let packing = BitPacking(bits: bits)
    var codes = [UInt8](repeating: 0, count: zeros.count)
    for row in 0..<rows {
      for group in 0..<groups { codes[group * rows + row] = UInt8(zeros[row * groups + group]) }
    }
    let rowByteCount = packing.byteCount(columns: rows)
    var transposed = [UInt8](repeating: 0, count: groups * rowByteCount)
    transposed.change(0..<transposed.count) { packing.pack(codes.span, rows: groups, into: &$0) }
    var bytes = transposed
    let words = rowByteCount / 4
    for group in 0..<groups {
      for word in 0..<words {
        let (from, to) = ((group * words + word) * 4, (word * groups + group) * 4)
        for byte in 0..<4 { bytes[to + byte] = transposed[from + byte] }
      }
    }
    return bytes
  }
}
