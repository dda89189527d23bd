internal import CKernels

/// Rows of codes as bit streams: code k of a row takes bits k × `bits` and up, least significant
/// bit first, in little-endian bytes, and zero bits fill the row to a whole 32-bit word.
package struct BitPacking: Sendable, Hashable {
  /// Bits of one code, 1…8.
  package let bits: Int

  package init(bits: Int) {
    precondition((1...8).contains(bits), "expected 1…8 bits")
    self.bits = bits
  }

  /// Bytes of one packed row of `columns` codes: a multiple of four.
  package func byteCount(columns: Int) -> Int {
    (columns * bits + 31) / 32 * 4
  }

  /// Packs rows of equal length, one after the other.
  ///
  /// - Parameters:
  ///   - codes: rows × columns, one code per byte, each below 2^bits.
  ///   - rows: The number of rows, which divides the number of codes.
  ///   - bytes: Receives rows × `byteCount(columns:)` bytes.
  ///   - instructions: The path to take.
  package func pack(
    _ codes: Span<UInt8>, rows: Int, into bytes: inout MutableRawSpan,
    on instructions: InstructionSet = .best
  ) {
    let columns = columnCount(codes.count, rows: rows, bytes: bytes.byteCount)
    // In bounds by the preconditions of `columnCount`.
    unsafe codes.withUnsafeBufferPointer { codes in
      unsafe bytes.withUnsafeMutableBytes { bytes in
        unsafe pleat_pack(
          instructions.identifier, codes.baseAddress, rows, columns, Int32(bits),
          bytes.baseAddress)
      }
    }
  }

  /// Takes rows of equal length apart; bits that fill the last word of a row are not looked at.
  ///
  /// - Parameters:
  ///   - bytes: rows × `byteCount(columns:)` bytes, at any alignment.
  ///   - rows: The number of rows, which divides the number of codes.
  ///   - codes: Receives rows × columns codes, one per byte.
  ///   - instructions: The path to take.
  package func unpack(
    _ bytes: Span<UInt8>, rows: Int, into codes: inout MutableSpan<UInt8>,
    on instructions: InstructionSet = .best
  ) {
    let columns = columnCount(codes.count, rows: rows, bytes: bytes.count)
    // In bounds by the preconditions of `columnCount`.
    unsafe bytes.withUnsafeBytes { bytes in
      unsafe codes.withUnsafeMutableBufferPointer { codes in
        unsafe pleat_unpack(
          instructions.identifier, bytes.baseAddress, rows, columns, Int32(bits),
          codes.baseAddress)
      }
    }
  }

  private func columnCount(_ codeCount: Int, rows: Int, bytes: Int) -> Int {
    precondition(rows > 0 && codeCount % rows == 0, "rows do not divide the codes")
    let columns = codeCount / rows
    precondition(bytes == rows * byteCount(columns: columns), "bytes and codes differ in count")
    return columns
  }
}
