internal import CKernels

/// Codes packed down columns, as in GPTQ: word k of the bit stream of a row is in stripe k.
extension BitPacking {
  /// Packs rows into stripes; each stripe takes one word of every row.
  ///
  /// Stripes may have words for more rows. These stay unchanged.
  ///
  /// - Parameters:
  ///   - codes: rows × columns codes, row-major, one per byte, each below 2^bits. The bits of a row
  ///     must fill whole words.
  ///   - rows: The number of rows, which divides the number of codes.
  ///   - firstRow: The position of the first row in a stripe.
  ///   - bytes: The stripes, of equal length, one after another: as many as a row has words.
  ///   - instructions: The instruction set to use.
  package func packLines(
    _ codes: Span<UInt8>, rows: Int, firstRow: Int, into bytes: inout MutableRawSpan,
    on instructions: InstructionSet = .best
  ) {
    let (columns, distance) = stripes(codes.count, rows, firstRow, bytes.byteCount)
    guard distance > 0 else { return }
    // In bounds by the preconditions of `stripes`: each stripe has room for all these rows.
    unsafe codes.withUnsafeBufferPointer { codes in
      unsafe bytes.withUnsafeMutableBytes { bytes in
        unsafe pleat_pack_lines(
          instructions.identifier, codes.baseAddress, rows, columns, Int32(bits),
          bytes.baseAddress.map { unsafe $0 + 4 * firstRow }, distance)
      }
    }
  }

  /// Unpacks rows from stripes; each stripe holds one word of every row.
  ///
  /// Stripes may have words for more rows. These are ignored.
  ///
  /// - Parameters:
  ///   - bytes: The stripes, of equal length, one after another: as many as a row has words.
  ///   - rows: The number of rows, which divides the number of codes.
  ///   - firstRow: The position of the first row in a stripe.
  ///   - codes: Receives rows × columns codes, row-major, one per byte. The bits of a row must fill
  ///     whole words.
  ///   - instructions: The instruction set to use.
  package func unpackLines(
    _ bytes: Span<UInt8>, rows: Int, firstRow: Int, into codes: inout MutableSpan<UInt8>,
    on instructions: InstructionSet = .best
  ) {
    let (columns, distance) = stripes(codes.count, rows, firstRow, bytes.count)
    guard distance > 0 else { return }
    // In bounds by the preconditions of `stripes`: each stripe has room for all these rows.
    unsafe bytes.withUnsafeBytes { bytes in
      unsafe codes.withUnsafeMutableBufferPointer { codes in
        unsafe pleat_unpack_lines(
          instructions.identifier, bytes.baseAddress.map { unsafe $0 + 4 * firstRow }, distance,
          rows, columns, Int32(bits), codes.baseAddress)
      }
    }
  }

  /// The number of codes in a row, and of bytes in a stripe; 0 and 0 if there are no codes.
  private func stripes(
    _ codeCount: Int, _ rows: Int, _ firstRow: Int, _ byteCount: Int
  ) -> (columns: Int, distance: Int) {
    guard codeCount > 0 else { return (0, 0) }
    precondition(rows > 0 && codeCount % rows == 0, "rows do not divide the codes")
    let columns = codeCount / rows
    precondition(columns * bits % 32 == 0, "rows are not whole words")
    let stripeCount = columns * bits / 32
    precondition(byteCount % (4 * stripeCount) == 0, "stripes differ in length")
    let distance = byteCount / stripeCount
    precondition(firstRow >= 0 && 4 * (firstRow + rows) <= distance, "rows exceed the stripes")
    return (columns, distance)
  }
}
