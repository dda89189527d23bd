internal import CKernels

/// Codes that are packed down columns, as GPTQ does: word k of the stream of a row is in line k.
extension BitPacking {
  /// Packs some rows into lines that have a word for each of more rows.
  ///
  /// - Parameters:
  ///   - codes: rows × columns, one code per byte, each below 2^bits; the bits of a row fill words.
  ///   - rows: The number of rows, which divides the number of codes.
  ///   - firstRow: The place of the first row in a line.
  ///   - bytes: Lines of equal length, one after the other: as many as a row has words.
  ///   - instructions: The path to take.
  package func packLines(
    _ codes: Span<UInt8>, rows: Int, firstRow: Int, into bytes: inout MutableRawSpan,
    on instructions: InstructionSet = .best
  ) {
    let (columns, distance) = lines(codes.count, rows, firstRow, bytes.byteCount)
    guard distance > 0 else { return }
    // In bounds by the preconditions of `lines`: rows from the first one on fit every line.
    unsafe codes.withUnsafeBufferPointer { codes in
      unsafe bytes.withUnsafeMutableBytes { bytes in
        unsafe pleat_pack_lines(
          instructions.identifier, codes.baseAddress, rows, columns, Int32(bits),
          bytes.baseAddress.map { unsafe $0 + 4 * firstRow }, distance)
      }
    }
  }

  /// Takes some rows apart that are in lines with a word for each of more rows.
  ///
  /// - Parameters:
  ///   - bytes: Lines of equal length, one after the other: as many as a row has words.
  ///   - rows: The number of rows, which divides the number of codes.
  ///   - firstRow: The place of the first row in a line.
  ///   - codes: Receives rows × columns codes, one per byte; the bits of a row fill words.
  ///   - instructions: The path to take.
  package func unpackLines(
    _ bytes: Span<UInt8>, rows: Int, firstRow: Int, into codes: inout MutableSpan<UInt8>,
    on instructions: InstructionSet = .best
  ) {
    let (columns, distance) = lines(codes.count, rows, firstRow, bytes.count)
    guard distance > 0 else { return }
    // In bounds by the preconditions of `lines`: rows from the first one on fit every line.
    unsafe bytes.withUnsafeBytes { bytes in
      unsafe codes.withUnsafeMutableBufferPointer { codes in
        unsafe pleat_unpack_lines(
          instructions.identifier, bytes.baseAddress.map { unsafe $0 + 4 * firstRow }, distance,
          rows, columns, Int32(bits), codes.baseAddress)
      }
    }
  }

  /// The codes of a row, and the bytes of a line; 0 where there is nothing.
  private func lines(
    _ codeCount: Int, _ rows: Int, _ firstRow: Int, _ byteCount: Int
  ) -> (columns: Int, distance: Int) {
    guard codeCount > 0 else { return (0, 0) }
    precondition(rows > 0 && codeCount % rows == 0, "rows do not divide the codes")
    let columns = codeCount / rows
    precondition(columns * bits % 32 == 0, "rows are not whole words")
    let lineCount = columns * bits / 32
    precondition(byteCount % (4 * lineCount) == 0, "lines differ in length")
    let distance = byteCount / lineCount
    precondition(firstRow >= 0 && 4 * (firstRow + rows) <= distance, "rows leave the lines")
    return (columns, distance)
  }
}
