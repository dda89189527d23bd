internal import CKernels

extension BlockType {
  /// The block that holds groups of a form; nil when there is none.
  package init?(_ form: GroupForm) {
    guard let type = Self.allCases.first(where: { $0.groupForm == form }) else { return nil }
    self = type
  }

  /// Encodes groups of 32 as llama-quantize does, with the bits that it gives on x86.
  ///
  /// Q4_1 and Q5_1, with n = 2^bits − 1: scale = (max − min) / n, bias = min, code =
  /// (w − min) · (1 / scale) + ½, without the fraction. Q4_0 and Q5_0, with z = 2^(bits − 1):
  /// scale = m / −z, where m is the value of largest magnitude, the first of equals, and may make
  /// it negative; code = w · (1 / scale) + z + ½, without the fraction, at most 2 · z − 1. Q8_0:
  /// scale = max |w| / 127, code = w · (1 / scale), rounded half away from zero, plus 128. Where
  /// the scale is 0 the reciprocal is too, and where that is infinite all of a block is 0, which
  /// is code 128 of Q8_0. Unlike elsewhere codes do not know of the rounding of the scale and the
  /// bias. From `quantize_row_q4_0_ref` and its siblings in ggml/src/ggml-quants.c.
  ///
  /// - Parameters:
  ///   - values: blocks × 32 floats.
  ///   - codes: Receives blocks × 32 codes, one per byte.
  ///   - scales: Receives one scale per block, rounded to float16.
  ///   - biases: Receives one bias per block, rounded likewise; empty for symmetric blocks.
  ///   - instructions: The path to take.
  /// - Throws: `GroupFault`; what was written so far is then meaningless.
  package func encode(
    _ values: Span<Float>, codes: inout MutableSpan<UInt8>, scales: inout MutableSpan<Float>,
    biases: inout MutableSpan<Float>, on instructions: InstructionSet = .best
  ) throws(GroupFault) {
    guard let groupForm else { preconditionFailure("\(self) holds no groups") }
    let count = scales.count
    let hasBias = if case .affine = groupForm { true } else { false }
    precondition(values.count == count * elementCount, "expected one scale per block")
    precondition(codes.count == values.count, "expected one code per value")
    precondition(biases.count == (hasBias ? count : 0), "expected one bias per affine block")
    // In bounds by the preconditions; without biases the loop does not touch them.
    let outcome = unsafe values.withUnsafeBufferPointer { values in
      unsafe codes.withUnsafeMutableBufferPointer { codes in
        unsafe scales.withUnsafeMutableBufferPointer { scales in
          unsafe biases.withUnsafeMutableBufferPointer { biases in
            unsafe pleat_ggml_encode(
              instructions.identifier, rawValue, values.baseAddress, count, codes.baseAddress,
              scales.baseAddress, biases.baseAddress)
          }
        }
      }
    }
    if let fault = GroupFault(outcome: outcome) { throw fault }
  }
}
