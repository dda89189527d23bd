/// Two orders of the rows of a matrix, or of a bias, that makes queries or keys of rotated heads.
///
/// Rotary embeddings turn pairs of numbers. Hugging Face keeps the first numbers of a head's pairs
/// in one half of its rows and the second in the other; llama.cpp interleaves them. Rows seen as
/// heads × 2 × half become heads × half × 2.
package struct RotaryRowOrder: Sendable, Hashable {
  /// The number of heads.
  package let headCount: Int
  /// Rows of a head; even.
  package let headSize: Int

  /// The order for some heads; nil when there are none, when they cannot be halved, or overflow.
  package init?(headCount: Int, headSize: Int) {
    guard headCount > 0, headSize > 0, headSize % 2 == 0,
      !headCount.multipliedReportingOverflow(by: headSize).overflow
    else { return nil }
    self.headCount = headCount
    self.headSize = headSize
  }

  /// The number of rows, which that of the tensor has to be.
  package var rowCount: Int { headCount * headSize }

  /// Where Hugging Face has the row that llama.cpp has at `row`, less than `rowCount`.
  package func huggingFaceRow(ofInterleaved row: Int) -> Int {
    precondition(row >= 0 && row < rowCount)
    let (head, place) = row.quotientAndRemainder(dividingBy: headSize)
    return head * headSize + place % 2 * (headSize / 2) + place / 2
  }

  /// Where llama.cpp has the row that Hugging Face has at `row`, less than `rowCount`.
  package func interleavedRow(ofHuggingFace row: Int) -> Int {
    precondition(row >= 0 && row < rowCount)
    let (head, place) = row.quotientAndRemainder(dividingBy: headSize)
    let (half, pair) = place.quotientAndRemainder(dividingBy: headSize / 2)
    return head * headSize + 2 * pair + half
  }
}
