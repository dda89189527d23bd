internal import CKernels

/// The sums of the squares of the numbers of columns, which depend on no order of addition.
///
/// Each square is cut at fixed powers of two into digits of 32 bits, and each column adds up the
/// digits of three bins: that of its largest square, and the next two. What is dropped is less than
/// 2⁻⁶⁴ of the largest square for each number. So sums of parts, added in any order, are the sums of
/// all numbers, bit by bit.
package struct SquareSums: Sendable, Hashable {
  /// The number of columns.
  package var columnCount: Int { tops.count }
  /// The highest bin of each column; the digit of bin t has the weight 2^(32 t − 256).
  package private(set) var tops: [UInt8]
  /// The sums of the digits: those of the lowest bin of all columns, then the next, then the highest.
  package private(set) var words: [UInt64]

  /// The bin of numbers that are not finite.
  private static let infiniteTop: UInt8 = 16

  /// The largest number of squares of a column, for which the words suffice.
  package static let countLimit = 1 << 32

  /// Creates sums of nothing.
  package init(columnCount: Int) {
    tops = Array(repeating: 0, count: columnCount)
    words = Array(repeating: 0, count: 3 * columnCount)
  }

  /// Creates sums that were kept: a bin and three words for each column.
  package init(tops: [UInt8], words: [UInt64]) {
    precondition(words.count == 3 * tops.count, "expected three words for each column")
    (self.tops, self.words) = (tops, words)
  }

  /// Adds the squares of all numbers of a matrix, whose columns are as many.
  package mutating func add(_ numbers: FloatMatrix, on instructions: InstructionSet = .best) {
    let (rowCount, stride, columnCount) = (numbers.rowCount, numbers.rowStride, columnCount)
    precondition(numbers.columnCount == columnCount, "expected a sum for each column")
    let values = unsafe numbers.address(
      row: 0, lastRow: rowCount - 1, lastColumn: columnCount - 1)
    var newTops = tops
    // In bounds: the matrix has so many rows of so many columns, this far apart, and there are as
    // many tops.
    unsafe newTops.withUnsafeMutableBufferPointer {
      unsafe pleat_raise_tops(
        instructions.identifier, values, rowCount, stride, columnCount, $0.baseAddress)
    }
    raise(to: newTops)
    // In bounds: there are three words for each column.
    unsafe tops.withUnsafeBufferPointer { tops in
      unsafe words.withUnsafeMutableBufferPointer {
        unsafe pleat_add_squares(
          instructions.identifier, values, rowCount, stride, columnCount, tops.baseAddress,
          $0.baseAddress)
      }
    }
  }

  /// Adds other sums, of as many columns.
  package mutating func add(_ other: SquareSums) {
    precondition(other.columnCount == columnCount, "expected a sum for each column")
    var other = other
    let higher = zip(tops, other.tops).map { max($0, $1) }
    raise(to: higher)
    other.raise(to: higher)
    for index in words.indices { words[index] &+= other.words[index] }
  }

  /// Drops the digits that are too low beside a higher bin.
  private mutating func raise(to newTops: [UInt8]) {
    let count = columnCount
    for column in 0..<count where newTops[column] > tops[column] {
      let step = Int(newTops[column] - tops[column])
      for digit in 0..<3 {
        let source = column + (digit + step) * count
        words[column + digit * count] = digit + step < 3 ? words[source] : 0
      }
      tops[column] = newTops[column]
    }
  }

  /// The sum of a column, rounded once to float32; infinite if it is too large or a number was not
  /// finite.
  package func sum(column: Int) -> Float {
    guard tops[column] < Self.infiniteTop else { return .infinity }
    let low = words[column]
    let middle = words[column + columnCount] &+ (low >> 32)
    let high = words[column + 2 * columnCount] &+ (middle >> 32)
    let rest = middle << 32 | low & 0xffff_ffff
    // The weight of the lowest bit of `rest`.
    let exponent = 32 * (Int(tops[column]) - 2) - 256
    guard high != 0 else { return Float(sign: .plus, exponent: exponent, significand: Float(rest)) }
    // The highest 64 bits; a lower one shows in the last, so that ties are told from other numbers.
    let shift = high.leadingZeroBitCount
    let kept = shift == 0 ? high : high << shift | rest >> (64 - shift)
    let dropped = rest << shift
    return Float(
      sign: .plus, exponent: exponent + 64 - shift,
      significand: Float(kept | (dropped == 0 ? 0 : 1)))
  }
}
