internal import CKernels

extension BlockType {
  /// The block type that stores groups of a form; nil if there is none.
  package init?(_ form: GroupForm) {
    guard let type = Self.allCases.first(where: { $0.groupForm == form }) else { return nil }
    self = type
  }

  /// Encodes groups of 32 as llama-quantize does on x86, with the same bits.
  ///
  /// - Q4_1 and Q5_1, with n = 2^bits − 1: scale = (max − min) / n, bias = min,
  ///   code = min(trunc((w − min) · (1 / scale) + ½), n).
  /// - Q4_0 and Q5_0, with z = 2^(bits − 1) and m the first value of largest magnitude:
  ///   scale = m / −z, may be negative, code = min(trunc(w · (1 / scale) + z + ½), 2 · z − 1).
  /// - Q8_0: scale = max |w| / 127, code = w · (1 / scale), rounded half away from zero, plus 128.
  ///
  /// If the scale is 0, 1 / scale counts as 0. If 1 / scale is infinite, all codes are 0 (128 in
  /// Q8_0). As in `GroupKernel.encodeMLX`, codes are computed before scale and bias are rounded.
  /// The source is `quantize_row_q4_0_ref` and its siblings in ggml/src/ggml-quants.c.
  ///
  /// - Parameters:
  ///   - values: blocks × 32 floats.
  ///   - codes: Receives blocks × 32 codes, one per byte.
  ///   - scales: Receives one scale per block, rounded to float16.
  ///   - biases: Receives one bias per block, rounded likewise; empty for symmetric blocks.
  ///   - instructions: The instruction set to use.
  /// - Throws: `GroupFault`; the outputs are then meaningless.
  package func encode(
    _ values: Span<Float>, codes: inout MutableSpan<UInt8>, scales: inout MutableSpan<Float>,
    biases: inout MutableSpan<Float>, on instructions: InstructionSet = .best
  ) throws(GroupFault) {
    guard let groupForm else { preconditionFailure("\(self) does not store groups") }
    let count = scales.count
    let hasBias = if case .affine = groupForm { true } else { false }
    precondition(values.count == count * elementCount, "expected one scale per block")
    precondition(codes.count == values.count, "expected one code per value")
    precondition(biases.count == (hasBias ? count : 0), "expected one bias per affine block")
    // In bounds by the preconditions. The loop does not touch `biases` for symmetric blocks.
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
