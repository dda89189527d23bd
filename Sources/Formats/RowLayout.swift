/// How the rows of a weight are arranged in a stored tensor.
///
/// The tensor consists of stripes: runs of equal length, one after the other. Every row has some
/// bytes in each stripe. If rows are contiguous, there is one stripe. If a format packs codes along
/// the inputs, as GPTQ does, there is one stripe for each word of a row of codes.
package struct RowLayout: Sendable, Hashable {
  /// The number of stripes in the tensor.
  package var stripeCount: Int
  /// The length of a stripe in bytes.
  package var stripeByteCount: Int
  /// The number of rows that share words, and so are read and written together.
  ///
  /// Nil if the bytes do not belong to rows, but to the weight as a whole.
  package var rowsPerStep: Int?
  /// The bytes that this many rows take in a stripe; the last rows of a stripe may take fewer.
  package var bytesPerStep: Int

  /// Creates the layout of rows that are spread over stripes.
  package init(stripeCount: Int, stripeByteCount: Int, rowsPerStep: Int, bytesPerStep: Int) {
    self.stripeCount = stripeCount
    self.stripeByteCount = stripeByteCount
    self.rowsPerStep = rowsPerStep
    self.bytesPerStep = bytesPerStep
  }

  /// Creates the layout of contiguous rows.
  package init(rowByteCount: Int, byteCount: Int) {
    self.init(
      stripeCount: 1, stripeByteCount: byteCount, rowsPerStep: 1, bytesPerStep: rowByteCount)
  }

  /// Creates the layout of bytes that belong to the weight as a whole.
  package init(wholeByteCount byteCount: Int) {
    (stripeCount, stripeByteCount, rowsPerStep, bytesPerStep) = (1, byteCount, nil, byteCount)
  }

  /// The length of the tensor in bytes.
  package var byteCount: Int { stripeCount * stripeByteCount }

  /// Whether consecutive rows are consecutive bytes.
  package var isContiguous: Bool { stripeCount == 1 }

  /// The range of a stripe that some rows take; the first row must be the first of a step.
  package func range(of rows: Range<Int>) -> Range<Int> {
    guard let rowsPerStep else { return 0..<stripeByteCount }
    func offset(_ row: Int) -> Int {
      min((row + rowsPerStep - 1) / rowsPerStep * bytesPerStep, stripeByteCount)
    }
    return offset(rows.lowerBound)..<offset(rows.upperBound)
  }

  /// The number of bytes that some rows take in all stripes together.
  package func byteCount(of rows: Range<Int>) -> Int { stripeCount * range(of: rows).count }
}
