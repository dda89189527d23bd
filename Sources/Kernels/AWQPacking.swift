internal import CKernels

/// Codes of 4 bits in the order of AWQ: a line of words for each column, in each word the codes of
/// eight neighbouring rows.
///
/// From the lowest nibble of a word on they are those of rows 0, 2, 4, 6, 1, 3, 5 and 7.
package enum AWQPacking {
  /// Rows that share a word.
  package static let rowsPerWord = 8

  /// Packs rows of equal length, one after the other.
  ///
  /// - Parameters:
  ///   - codes: rows × columns, one code per byte, each below 16.
  ///   - rows: The number of rows, a multiple of eight.
  ///   - lines: Receives rows / 8 words in each line, from its beginning on.
  ///   - distance: The bytes from one line to the next.
  ///   - instructions: The path to take.
  package static func pack(
    _ codes: Span<UInt8>, rows: Int, into lines: inout MutableRawSpan, distance: Int,
    on instructions: InstructionSet = .best
  ) {
    let columns = columnCount(codes.count, rows, lines.byteCount, distance)
    // In bounds by the preconditions of `columnCount`.
    unsafe codes.withUnsafeBufferPointer { codes in
      unsafe lines.withUnsafeMutableBytes { lines in
        unsafe pleat_awq_pack(
          instructions.identifier, codes.baseAddress, rows, columns, lines.baseAddress, distance)
      }
    }
  }

  /// Takes rows of equal length apart.
  ///
  /// - Parameters:
  ///   - lines: rows / 8 words in each line, from its beginning on, at any alignment.
  ///   - distance: The bytes from one line to the next.
  ///   - rows: The number of rows, a multiple of eight.
  ///   - codes: Receives rows × columns codes, one per byte.
  ///   - instructions: The path to take.
  package static func unpack(
    _ lines: Span<UInt8>, distance: Int, rows: Int, into codes: inout MutableSpan<UInt8>,
    on instructions: InstructionSet = .best
  ) {
    let columns = columnCount(codes.count, rows, lines.count, distance)
    // In bounds by the preconditions of `columnCount`.
    unsafe lines.withUnsafeBytes { lines in
      unsafe codes.withUnsafeMutableBufferPointer { codes in
        unsafe pleat_awq_unpack(
          instructions.identifier, lines.baseAddress, distance, rows, columns, codes.baseAddress)
      }
    }
  }

  private static func columnCount(
    _ codeCount: Int, _ rows: Int, _ byteCount: Int, _ distance: Int
  ) -> Int {
    precondition(rows > 0 && rows % rowsPerWord == 0, "expected whole words")
    precondition(codeCount % rows == 0, "rows do not divide the codes")
    let columns = codeCount / rows
    let lineByteCount = rows / rowsPerWord * 4
    precondition(lineByteCount <= distance, "lines overlap")
    precondition(
      columns == 0 || byteCount >= (columns - 1) * distance + lineByteCount,
      "a line for each column")
    return columns
  }
}
