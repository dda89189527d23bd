internal import CKernels

/// MXFP4 in the two layouts that files have: codes beside exponents, and blocks of both.
///
/// A block of llama.cpp is the exponent and 16 bytes, of which byte j holds the codes j and j + 16.
/// Packed codes of other programs are 16 bytes for the same 32 codes, of which byte j holds 2j and
/// 2j + 1. The first code is in the low half of its byte. Both have the same codes and exponents.
package enum MXFP4Blocks {
  private static let codeByteCount = 16
  private static let byteCount = 17

  /// Joins packed codes and exponents to blocks.
  ///
  /// - Parameters:
  ///   - codes: blocks × 16 bytes.
  ///   - exponents: One byte for each block.
  ///   - blocks: Receives blocks × 17 bytes.
  ///   - instructions: The instruction set to use.
  package static func join(
    codes: Span<UInt8>, exponents: Span<UInt8>, into blocks: inout MutableRawSpan,
    on instructions: InstructionSet = .best
  ) {
    let count = exponents.count
    precondition(
      codes.count == count * codeByteCount && blocks.byteCount == count * byteCount,
      "codes, exponents and blocks differ in count")
    // In bounds by the precondition.
    unsafe codes.withUnsafeBufferPointer { codes in
      unsafe exponents.withUnsafeBufferPointer { exponents in
        unsafe blocks.withUnsafeMutableBytes { blocks in
          unsafe pleat_mxfp4_join(
            instructions.identifier, codes.baseAddress, exponents.baseAddress, count,
            blocks.baseAddress?.assumingMemoryBound(to: UInt8.self))
        }
      }
    }
  }

  /// Splits blocks into packed codes and exponents: the inverse of `join`.
  ///
  /// - Parameters:
  ///   - blocks: blocks × 17 bytes.
  ///   - codes: Receives blocks × 16 bytes.
  ///   - exponents: Receives one byte for each block.
  ///   - instructions: The instruction set to use.
  package static func split(
    _ blocks: Span<UInt8>, codes: inout MutableSpan<UInt8>, exponents: inout MutableSpan<UInt8>,
    on instructions: InstructionSet = .best
  ) {
    let count = exponents.count
    precondition(
      codes.count == count * codeByteCount && blocks.count == count * byteCount,
      "blocks, codes and exponents differ in count")
    // In bounds by the precondition.
    unsafe blocks.withUnsafeBufferPointer { blocks in
      unsafe codes.withUnsafeMutableBufferPointer { codes in
        unsafe exponents.withUnsafeMutableBufferPointer { exponents in
          unsafe pleat_mxfp4_split(
            instructions.identifier, blocks.baseAddress, count, codes.baseAddress,
            exponents.baseAddress)
        }
      }
    }
  }
}
