internal import CKernels

/// Packs and unpacks rows of codes as bit streams.
///
/// Code k of a row starts at bit k × `bits`, least significant bit first, in little-endian bytes.
/// Zero bits pad the row to a whole number of 32-bit words.
package struct BitPacking: Sendable, Hashable {
  /// The number of bits of a code, 1…8.
  package let bits: Int

  package init(bits: Int) {
    precondition((1...8).contains(bits), "expected 1…8 bits")
    self.bits = bits
  }

  /// The number of bytes of a packed row of `columns` codes, a multiple of four.
  package func byteCount(columns: Int) -> Int {
    (columns * bits + 31) / 32 * 4
  }

  /// Packs rows of equal length that follow one another.
  ///
  /// - Parameters:
  ///   - codes: rows × columns codes, row-major, one per byte, each below 2^bits.
  ///   - rows: The number of rows, which divides the number of codes.
  ///   - bytes: Receives rows × `byteCount(columns:)` bytes.
  ///   - instructions: The instruction set to use.
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

  /// Unpacks rows of equal length and ignores their padding bits.
  ///
  /// - Parameters:
  ///   - bytes: rows × `byteCount(columns:)` bytes, at any alignment.
  ///   - rows: The number of rows, which divides the number of codes.
  ///   - codes: Receives rows × columns codes, row-major, one per byte.
  ///   - instructions: The instruction set to use.
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
