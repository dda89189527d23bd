/// Maps rows of query and key projections between the orders of Hugging Face and llama.cpp.
///
/// Rotary embeddings rotate pairs of numbers in each head. Hugging Face stores the first numbers of
/// all pairs in one half of a head's rows, and the second numbers in the other half: the rows are
/// heads × 2 × half. llama.cpp interleaves them: heads × half × 2. Biases of these projections have
/// the same two orders.
package struct RotaryRowOrder: Sendable, Hashable {
  /// The number of heads.
  package let headCount: Int
  /// The number of rows of a head, which is even.
  package let headSize: Int
  /// Whether rows in the order of llama.cpp get that of Hugging Face, instead of the reverse.
  package private(set) var isInverse = false

  /// The same heads, with rows in the order of llama.cpp that get that of Hugging Face.
  package var inverse: RotaryRowOrder {
    var order = self
    order.isInverse.toggle()
    return order
  }

  /// Creates a map; nil if a count is not positive, a head has odd size, or the product overflows.
  package init?(headCount: Int, headSize: Int) {
    guard headCount > 0, headSize > 0, headSize % 2 == 0,
      !headCount.multipliedReportingOverflow(by: headSize).overflow
    else { return nil }
    self.headCount = headCount
    self.headSize = headSize
  }

  /// The number of rows that the tensor must have.
  package var rowCount: Int { headCount * headSize }

  /// The Hugging Face position of the row that llama.cpp stores at `row`, less than `rowCount`.
  package func huggingFaceRow(ofInterleaved row: Int) -> Int {
    precondition(row >= 0 && row < rowCount)
    let (head, position) = row.quotientAndRemainder(dividingBy: headSize)
    return head * headSize + position % 2 * (headSize / 2) + position / 2
  }

  /// The llama.cpp position of the row that Hugging Face stores at `row`, less than `rowCount`.
  package func interleavedRow(ofHuggingFace row: Int) -> Int {
    precondition(row >= 0 && row < rowCount)
    let (head, position) = row.quotientAndRemainder(dividingBy: headSize)
    let (half, pair) = position.quotientAndRemainder(dividingBy: headSize / 2)
    return head * headSize + 2 * pair + half
  }

  /// Rows in the new order, from rows in the old one.
  ///
  /// - Parameters:
  ///   - rows: Rows one after the other: whole heads.
  ///   - rowLength: The elements of a row: bytes or numbers.
  /// - Returns: The same rows, in the other order.
  package func reordered<Element: BitwiseCopyable>(
    _ rows: [Element], rowLength: Int
  ) -> [Element] {
    let byteCount = rowLength * MemoryLayout<Element>.stride
    precondition(rowLength > 0 && rows.count % rowLength == 0, "the rows are not whole")
    // Safety: every row of the result is written, and each comes from a row of its own head, which
    // `rows` has, since it consists of whole heads.
    return unsafe Array(unsafeUninitializedCapacity: rows.count) { result, count in
      let target = UnsafeMutableRawBufferPointer(result)
      unsafe rows.withUnsafeBytes { source in
        for row in 0..<rows.count / rowLength {
          let old =
            isInverse ? interleavedRow(ofHuggingFace: row) : huggingFaceRow(ofInterleaved: row)
          unsafe target[row * byteCount..<(row + 1) * byteCount].copyBytes(
            from: source[old * byteCount..<(old + 1) * byteCount])
        }
      }
      count = rows.count
    }
  }
}
