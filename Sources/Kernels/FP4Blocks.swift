internal import CKernels

/// Codes of FP4 in the two layouts that files have: codes beside scales, and blocks of both.
///
/// A block of llama.cpp has its scales first, then the codes of one run after the other. Byte j of a
/// run of n codes holds the codes j and j + n / 2. Packed codes of other programs have the same
/// order of runs, and their byte j holds 2j and 2j + 1. The first code is in the low half of its
/// byte. Both layouts have the same codes and scales.
package enum FP4Blocks: Sendable, CaseIterable {
  /// A scale of the type E8M0 for 32 codes: MXFP4.
  case mxfp4
  /// Four scales of the type E4M3, each for 16 codes: NVFP4.
  case nvfp4

  /// The number of scales in a block.
  package var scaleCount: Int { self == .mxfp4 ? 1 : 4 }
  /// The number of bytes in the codes of a block.
  package var codeByteCount: Int { self == .mxfp4 ? 16 : 32 }
  /// The number of bytes in a block.
  package var byteCount: Int { scaleCount + codeByteCount }

  /// Joins packed codes and scales to blocks.
  ///
  /// - Parameters:
  ///   - codes: The codes of each block.
  ///   - scales: The scales of each block, a byte each.
  ///   - blocks: Receives the blocks.
  ///   - instructions: The instruction set to use.
  package func join(
    codes: Span<UInt8>, scales: Span<UInt8>, into blocks: inout MutableRawSpan,
    on instructions: InstructionSet = .best
  ) {
    let count = scales.count / scaleCount
    check(codes.count, scales.count, blocks.byteCount)
    let function = self == .mxfp4 ? unsafe pleat_mxfp4_join : unsafe pleat_nvfp4_join
    // In bounds by the check.
    unsafe codes.withUnsafeBufferPointer { codes in
      unsafe scales.withUnsafeBufferPointer { scales in
        unsafe blocks.withUnsafeMutableBytes { blocks in
          unsafe function(
            instructions.identifier, codes.baseAddress, scales.baseAddress, count,
            blocks.baseAddress?.assumingMemoryBound(to: UInt8.self))
        }
      }
    }
  }

  /// Splits blocks into packed codes and scales: the inverse of `join`.
  ///
  /// - Parameters:
  ///   - blocks: The blocks.
  ///   - codes: Receives the codes of each block.
  ///   - scales: Receives the scales of each block, a byte each.
  ///   - instructions: The instruction set to use.
  package func split(
    _ blocks: Span<UInt8>, codes: inout MutableSpan<UInt8>, scales: inout MutableSpan<UInt8>,
    on instructions: InstructionSet = .best
  ) {
    let count = scales.count / scaleCount
    check(codes.count, scales.count, blocks.count)
    let function = self == .mxfp4 ? unsafe pleat_mxfp4_split : unsafe pleat_nvfp4_split
    // In bounds by the check.
    unsafe blocks.withUnsafeBufferPointer { blocks in
      unsafe codes.withUnsafeMutableBufferPointer { codes in
        unsafe scales.withUnsafeMutableBufferPointer { scales in
          unsafe function(
            instructions.identifier, blocks.baseAddress, count, codes.baseAddress,
            scales.baseAddress)
        }
      }
    }
  }

  private func check(_ codes: Int, _ scales: Int, _ blocks: Int) {
    let count = scales / scaleCount
    precondition(
      scales == count * scaleCount && codes == count * codeByteCount
        && blocks == count * byteCount, "codes, scales and blocks differ in count")
  }
}
