internal import CKernels

/// Packs and unpacks 4-bit codes in the order of AWQ.
///
/// The packed tensor has one stripe of words for each column. A word holds the codes of eight
/// adjacent rows. From the lowest nibble up, these are rows 0, 2, 4, 6, 1, 3, 5 and 7.
package enum AWQPacking {
  /// The number of rows that share a word.
  package static let rowsPerWord = 8

  /// Packs rows of equal length that follow one another.
  ///
  /// - Parameters:
  ///   - codes: rows × columns codes, row-major, one per byte, each below 16.
  ///   - rows: The number of rows, a multiple of eight.
  ///   - stripes: Receives rows / 8 words at the beginning of each stripe.
  ///   - distance: The bytes from the start of a stripe to the start of the next.
  ///   - instructions: The instruction set to use.
  package static func pack(
    _ codes: Span<UInt8>, rows: Int, into stripes: inout MutableRawSpan, distance: Int,
    on instructions: InstructionSet = .best
  ) {
    let columns = columnCount(codes.count, rows, stripes.byteCount, distance)
    // In bounds by the preconditions of `columnCount`.
    unsafe codes.withUnsafeBufferPointer { codes in
      unsafe stripes.withUnsafeMutableBytes { stripes in
        unsafe pleat_awq_pack(
          instructions.identifier, codes.baseAddress, rows, columns, stripes.baseAddress, distance)
      }
    }
  }

  /// Unpacks rows of equal length.
  ///
  /// - Parameters:
  ///   - stripes: rows / 8 words at the beginning of each stripe, at any alignment.
  ///   - distance: The bytes from the start of a stripe to the start of the next.
  ///   - rows: The number of rows, a multiple of eight.
  ///   - codes: Receives rows × columns codes, row-major, one per byte.
  ///   - instructions: The instruction set to use.
  package static func unpack(
    _ stripes: Span<UInt8>, distance: Int, rows: Int, into codes: inout MutableSpan<UInt8>,
    on instructions: InstructionSet = .best
  ) {
    let columns = columnCount(codes.count, rows, stripes.count, distance)
    // In bounds by the preconditions of `columnCount`.
    unsafe stripes.withUnsafeBytes { stripes in
      unsafe codes.withUnsafeMutableBufferPointer { codes in
        unsafe pleat_awq_unpack(
          instructions.identifier, stripes.baseAddress, distance, rows, columns, codes.baseAddress)
      }
    }
  }

  private static func columnCount(
    _ codeCount: Int, _ rows: Int, _ byteCount: Int, _ distance: Int
  ) -> Int {
    precondition(rows > 0 && rows % rowsPerWord == 0, "expected whole words")
    precondition(codeCount % rows == 0, "rows do not divide the codes")
    let columns = codeCount / rows
    let stripeByteCount = rows / rowsPerWord * 4
    precondition(stripeByteCount <= distance, "stripes overlap")
    precondition(
      columns == 0 || byteCount >= (columns - 1) * distance + stripeByteCount,
      "expected one stripe per column")
    return columns
  }
}
