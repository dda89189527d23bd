internal import CKernels
package import TensorModel

/// Encodes groups of floats as codes that are numbers themselves, as `mx.quantize` of MLX does on a
/// CPU.
///
/// The largest number of a code is 6 in E2M1, and 448 in E4M3. A group with the largest magnitude m
/// gets x = m / 6 or x = m / 448, rounded to `arithmetic`, and then:
///
/// - mxfp4 and mxfp8: scale = the smallest power of two that is not below x; 1 if x is 0.
/// - nvfp4: scale = x rounded to E4M3, half to even. If that is 0, all codes are 0.
///
/// A code is that of the number nearest to w / scale. In E2M1 a tie goes to the smaller magnitude,
/// and no zero has a sign. In E4M3 a tie goes to the even code, magnitudes above 448 become 448, and
/// zeros keep their sign. This is what version 0.32.4 computes. But where the exponent of a scale is
/// below -127, MLX stores its low byte; here the scale is 2^-127 then.
package struct ScaledKernel: Sendable, Hashable {
  /// The mode.
  package let mode: ScaledMode
  /// The type in which MLX computes scales: that of the weights.
  package let arithmetic: FloatFormat

  package init(_ mode: ScaledMode, arithmetic: FloatFormat) {
    self.mode = mode
    self.arithmetic = arithmetic
  }

  /// Encodes groups.
  ///
  /// - Parameters:
  ///   - values: groups × group size floats, which are numbers of `arithmetic`.
  ///   - codes: Receives groups × group size × bits / 8 bytes. A code of 4 bits is half a byte, the
  ///     first one in the low half.
  ///   - scales: Receives one byte per group.
  ///   - instructions: The instruction set to use.
  /// - Throws: The fault of the first group with a value that is not finite, with a scale above 448
  ///   in E4M3, or with a number that would decode to infinity; the outputs are then meaningless.
  package func encode(
    _ values: Span<Float>, codes: inout MutableRawSpan, scales: inout MutableRawSpan,
    on instructions: InstructionSet = .best
  ) throws(GroupFault) {
    let count = scales.byteCount
    precondition(values.count == count * mode.groupSize, "expected one scale per whole group")
    precondition(codes.byteCount == values.count / 8 * mode.bits, "expected one code per value")
    // In bounds by the preconditions.
    let outcome = unsafe values.withUnsafeBufferPointer { values in
      unsafe codes.withUnsafeMutableBytes { codes in
        unsafe scales.withUnsafeMutableBytes { scales in
          unsafe pleat_encode_scaled(
            instructions.identifier, mode.identifier, values.baseAddress, count,
            arithmetic.identifier, codes.baseAddress?.assumingMemoryBound(to: UInt8.self),
            scales.baseAddress?.assumingMemoryBound(to: UInt8.self))
        }
      }
    }
    if let fault = GroupFault(outcome: outcome) { throw fault }
  }
}

extension ScaledMode {
  fileprivate var identifier: pleat_scaled_mode {
    switch self {
    case .mxfp4: PLEAT_MXFP4
    case .nvfp4: PLEAT_NVFP4
    case .mxfp8: PLEAT_MXFP8
    }
  }
}
