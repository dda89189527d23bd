/// How the rows of a weight lie in a stored tensor.
///
/// The tensor is a number of lines of equal length, one after the other, and every row has a place
/// in each of them. Where rows follow one another there is one line; where a format packs along the
/// input, as GPTQ does, there are as many as words in a row of codes.
package struct RowLayout: Sendable, Hashable {
  /// Lines of the tensor.
  package var lineCount: Int
  /// Bytes of a line.
  package var lineByteCount: Int
  /// Rows that share words, and so are read and written together; nil where the bytes are not of
  /// rows at all, but of the whole weight.
  package var rowsPerStep: Int?
  /// Bytes in a line of so many rows; the last rows of a line may have fewer.
  package var bytesPerStep: Int

  /// Rows that lie in lines.
  package init(lineCount: Int, lineByteCount: Int, rowsPerStep: Int, bytesPerStep: Int) {
    self.lineCount = lineCount
    self.lineByteCount = lineByteCount
    self.rowsPerStep = rowsPerStep
    self.bytesPerStep = bytesPerStep
  }

  /// Rows that follow one another.
  package init(rowByteCount: Int, byteCount: Int) {
    self.init(
      lineCount: 1, lineByteCount: byteCount, rowsPerStep: 1, bytesPerStep: rowByteCount)
  }

  /// Bytes that are of no row, but of the whole weight.
  package init(wholeByteCount byteCount: Int) {
    (lineCount, lineByteCount, rowsPerStep, bytesPerStep) = (1, byteCount, nil, byteCount)
  }

  /// Whether a run of rows is a run of bytes.
  package var isContiguous: Bool { lineCount == 1 }

  /// The bytes of a line that some rows take; they begin where a step does.
  package func range(of rows: Range<Int>) -> Range<Int> {
    guard let rowsPerStep else { return 0..<lineByteCount }
    func place(_ row: Int) -> Int {
      min((row + rowsPerStep - 1) / rowsPerStep * bytesPerStep, lineByteCount)
    }
    return place(rows.lowerBound)..<place(rows.upperBound)
  }

  /// The bytes that some rows take in all lines.
  package func byteCount(of rows: Range<Int>) -> Int { lineCount * range(of: rows).count }
}
