internal import CKernels

/// Why a group of floats cannot be encoded.
package struct GroupFault: Error, Hashable, Sendable {
  package enum Kind: Sendable {
    /// A value of the group is NaN or infinite.
    case nonFiniteValue
    /// The scale or the bias is too large for its storage format.
    case parameterOverflow
  }

  package var kind: Kind
  /// The index of the first such group, counted from the start of the values.
  package var group: Int

  package init(kind: Kind, group: Int) {
    self.kind = kind
    self.group = group
  }

  /// Decodes the result of a C encoder; nil if it reports no fault.
  init?(outcome: Int64) {
    guard outcome >= 0 else { return nil }
    self.init(
      kind: outcome & 1 == 0 ? .nonFiniteValue : .parameterOverflow, group: Int(outcome >> 1))
  }
}

/// Encodes groups of floats as codes, scales and offsets, and decodes them.
///
/// Values come as any number of whole groups, one after another. A tile of rows meets this, since
/// the group size divides the columns. All arithmetic is float32, and each operation is rounded
/// separately. Scales and biases are returned as floats that are already rounded to their storage
/// format. No function here allocates.
package struct GroupKernel: Sendable, Hashable {
  /// The number of values in a group, along a row.
  package let groupSize: Int
  /// The number of bits of a code, 1…8.
  package let bits: Int
  /// The storage format of scales and biases.
  package let parameters: FloatFormat

  package init(groupSize: Int, bits: Int, parameters: FloatFormat) {
    precondition(groupSize > 0, "expected a positive group size")
    precondition((1...8).contains(bits), "expected 1…8 bits")
    self.groupSize = groupSize
    self.bits = bits
    self.parameters = parameters
  }

  /// The code that stands for zero in the symmetric form: 2^(bits − 1).
  package var symmetricZero: Float { Float(1 << (bits - 1)) }

  /// Encodes each group from its minimum to its maximum: `w ≈ scale · code + bias`.
  ///
  /// With n = 2^bits − 1: scale = (max − min) / n and bias = min, both rounded to `parameters`;
  /// code = (w − bias) / scale, rounded half to even and clamped to 0…n, or 0 if the scale is zero.
  ///
  /// - Parameters:
  ///   - values: groups × groupSize floats.
  ///   - codes: Receives groups × groupSize codes, one per byte.
  ///   - scales: Receives one scale per group, never negative.
  ///   - biases: Receives one bias per group.
  ///   - instructions: The instruction set to use.
  /// - Throws: `GroupFault`; the outputs are then meaningless.
  package func encodeMinMax(
    _ values: Span<Float>, codes: inout MutableSpan<UInt8>, scales: inout MutableSpan<Float>,
    biases: inout MutableSpan<Float>, on instructions: InstructionSet = .best
  ) throws(GroupFault) {
    // In bounds: `encode` checks the counts.
    try unsafe encode(values, &codes, &scales, &biases, instructions, pleat_encode_minmax)
  }

  /// Encodes each group as `mx.quantize` of MLX does on a CPU: `w ≈ scale · code + bias`.
  ///
  /// With n = 2^bits − 1: if |min| > |max|, edge = min and step = max((max − min) / n, 1e-7), else
  /// edge = max and step = −max((max − min) / n, 1e-7). count = edge / step, rounded half to even.
  /// If count is not 0, scale = edge / count and bias = edge, so that code −count stands for zero;
  /// else scale = step and bias = 0. code = (w − bias) / scale, rounded half to even and clamped to
  /// 0…n, or 0 if the scale is zero. Unlike in `encodeMinMax`, scale and bias are rounded to
  /// `parameters` only afterwards. The source is `quantize` in mlx/backend/cpu/quantized.cpp,
  /// version 0.32.
  ///
  /// - Parameters:
  ///   - values: groups × groupSize floats.
  ///   - codes: Receives groups × groupSize codes, one per byte.
  ///   - scales: Receives one scale per group, which may be negative.
  ///   - biases: Receives one bias per group.
  ///   - instructions: The instruction set to use.
  /// - Throws: `GroupFault`; the outputs are then meaningless.
  package func encodeMLX(
    _ values: Span<Float>, codes: inout MutableSpan<UInt8>, scales: inout MutableSpan<Float>,
    biases: inout MutableSpan<Float>, on instructions: InstructionSet = .best
  ) throws(GroupFault) {
    // In bounds: `encode` checks the counts.
    try unsafe encode(values, &codes, &scales, &biases, instructions, pleat_encode_mlx)
  }

  /// Encodes each group around zero: `w ≈ scale · (code − symmetricZero)`.
  ///
  /// The first value of largest magnitude gets code 0. scale is this value divided by
  /// −symmetricZero, rounded to `parameters`, and may be negative.
  /// code = w / scale, rounded half to even, plus symmetricZero, clamped to 0…2^bits − 1; it is
  /// symmetricZero if the scale is zero.
  ///
  /// - Parameters:
  ///   - values: groups × groupSize floats.
  ///   - codes: Receives groups × groupSize codes, one per byte.
  ///   - scales: Receives one scale per group.
  ///   - instructions: The instruction set to use.
  /// - Throws: `GroupFault`; the outputs are then meaningless.
  package func encodeSymmetric(
    _ values: Span<Float>, codes: inout MutableSpan<UInt8>, scales: inout MutableSpan<Float>,
    on instructions: InstructionSet = .best
  ) throws(GroupFault) {
    let groups = groupCount(values: values.count, codes: codes.count, scales: scales.count)
    // In bounds by the preconditions: whole groups, and one of each parameter per group.
    let outcome = unsafe values.withUnsafeBufferPointer { values in
      unsafe codes.withUnsafeMutableBufferPointer { codes in
        unsafe scales.withUnsafeMutableBufferPointer { scales in
          unsafe pleat_encode_symmetric(
            instructions.identifier, values.baseAddress, groups, groupSize, Int32(bits),
            parameters.identifier, codes.baseAddress, scales.baseAddress)
        }
      }
    }
    try check(outcome)
  }

  /// Encodes each group with a zero point, as GPTQ does: `w ≈ scale · (code − zero)`.
  ///
  /// With n = 2^bits − 1, lo = min(0, min), hi = max(0, max), or −1 and 1 if all values are zero:
  /// scale = (hi − lo) / n, rounded to `parameters`; zero = −lo / scale, rounded half to even and
  /// clamped to 0…n; code = w / scale, rounded half to even, plus zero, clamped to 0…n. If the
  /// scale is zero, so are the zero point and all codes, and the group decodes to 0.
  ///
  /// - Parameters:
  ///   - values: groups × groupSize floats.
  ///   - codes: Receives groups × groupSize codes, one per byte.
  ///   - scales: Receives one scale per group, never negative.
  ///   - zeros: Receives one zero point per group, an integer in the range of the codes.
  ///   - instructions: The instruction set to use.
  /// - Throws: `GroupFault`; the outputs are then meaningless.
  package func encodeZeroPoint(
    _ values: Span<Float>, codes: inout MutableSpan<UInt8>, scales: inout MutableSpan<Float>,
    zeros: inout MutableSpan<Float>, on instructions: InstructionSet = .best
  ) throws(GroupFault) {
    // In bounds: `encode` checks the counts.
    try unsafe encode(values, &codes, &scales, &zeros, instructions, pleat_encode_zero_point)
  }

  /// Decodes groups with biases: `w = scale · code + bias`, product and sum rounded separately.
  ///
  /// - Parameters:
  ///   - codes: groups × groupSize codes, one per byte.
  ///   - scales: One scale per group.
  ///   - biases: One bias per group.
  ///   - values: Receives groups × groupSize floats.
  ///   - instructions: The instruction set to use.
  package func decode(
    _ codes: Span<UInt8>, scales: Span<Float>, biases: Span<Float>,
    into values: inout MutableSpan<Float>, on instructions: InstructionSet = .best
  ) {
    let groups = groupCount(values: values.count, codes: codes.count, scales: scales.count)
    precondition(biases.count == groups, "expected one bias per group")
    // In bounds by the preconditions: whole groups, and one of each parameter per group.
    unsafe codes.withUnsafeBufferPointer { codes in
      unsafe scales.withUnsafeBufferPointer { scales in
        unsafe biases.withUnsafeBufferPointer { biases in
          unsafe values.withUnsafeMutableBufferPointer { values in
            unsafe pleat_decode_affine(
              instructions.identifier, codes.baseAddress, groups, groupSize, scales.baseAddress,
              biases.baseAddress, values.baseAddress)
          }
        }
      }
    }
  }

  /// Decodes groups with one common zero: `w = scale · (code − zero)`.
  ///
  /// The difference is exact. A negative scale times zero is −0.
  ///
  /// - Parameters:
  ///   - codes: groups × groupSize codes, one per byte.
  ///   - scales: One scale per group.
  ///   - zero: The code that stands for zero in all groups, usually `symmetricZero`.
  ///   - values: Receives groups × groupSize floats.
  ///   - instructions: The instruction set to use.
  package func decode(
    _ codes: Span<UInt8>, scales: Span<Float>, zero: Float,
    into values: inout MutableSpan<Float>, on instructions: InstructionSet = .best
  ) {
    let groups = groupCount(values: values.count, codes: codes.count, scales: scales.count)
    // In bounds by the preconditions: whole groups, and one of each parameter per group.
    unsafe codes.withUnsafeBufferPointer { codes in
      unsafe scales.withUnsafeBufferPointer { scales in
        unsafe values.withUnsafeMutableBufferPointer { values in
          unsafe pleat_decode_centered(
            instructions.identifier, codes.baseAddress, groups, groupSize, scales.baseAddress,
            zero, values.baseAddress)
        }
      }
    }
  }

  /// Decodes groups with zero points: `w = scale · (code − zero)`.
  ///
  /// The difference is exact, since both are integers. A negative scale times zero is −0.
  ///
  /// - Parameters:
  ///   - codes: groups × groupSize codes, one per byte.
  ///   - scales: One scale per group.
  ///   - zeros: One zero point per group, an integer of magnitude below 2^24 − 255.
  ///   - values: Receives groups × groupSize floats.
  ///   - instructions: The instruction set to use.
  package func decode(
    _ codes: Span<UInt8>, scales: Span<Float>, zeros: Span<Float>,
    into values: inout MutableSpan<Float>, on instructions: InstructionSet = .best
  ) {
    let groups = groupCount(values: values.count, codes: codes.count, scales: scales.count)
    precondition(zeros.count == groups, "expected one zero point per group")
    // In bounds by the preconditions: whole groups, and one of each parameter per group.
    unsafe codes.withUnsafeBufferPointer { codes in
      unsafe scales.withUnsafeBufferPointer { scales in
        unsafe zeros.withUnsafeBufferPointer { zeros in
          unsafe values.withUnsafeMutableBufferPointer { values in
            unsafe pleat_decode_zero_points(
              instructions.identifier, codes.baseAddress, groups, groupSize, scales.baseAddress,
              zeros.baseAddress, values.baseAddress)
          }
        }
      }
    }
  }

  /// A C encoder that writes codes, and a scale and an offset for each group.
  private typealias Encoder = (
    pleat_instructions, UnsafePointer<Float>?, Int, Int, Int32, pleat_format,
    UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<Float>?, UnsafeMutablePointer<Float>?
  ) -> Int64

  private func encode(
    _ values: Span<Float>, _ codes: inout MutableSpan<UInt8>, _ scales: inout MutableSpan<Float>,
    _ offsets: inout MutableSpan<Float>, _ instructions: InstructionSet, _ encoder: Encoder
  ) throws(GroupFault) {
    let groups = groupCount(values: values.count, codes: codes.count, scales: scales.count)
    precondition(offsets.count == groups, "expected one offset per group")
    // In bounds by the preconditions: whole groups, and one of each parameter per group.
    let outcome = unsafe values.withUnsafeBufferPointer { values in
      unsafe codes.withUnsafeMutableBufferPointer { codes in
        unsafe scales.withUnsafeMutableBufferPointer { scales in
          unsafe offsets.withUnsafeMutableBufferPointer { offsets in
            unsafe encoder(
              instructions.identifier, values.baseAddress, groups, groupSize, Int32(bits),
              parameters.identifier, codes.baseAddress, scales.baseAddress, offsets.baseAddress)
          }
        }
      }
    }
    try check(outcome)
  }

  func groupCount(values: Int, codes: Int, scales: Int) -> Int {
    precondition(values == codes, "expected one code per value")
    precondition(values == scales * groupSize, "expected one scale per whole group")
    return scales
  }

  func check(_ outcome: Int64) throws(GroupFault) {
    if let fault = GroupFault(outcome: outcome) { throw fault }
  }
}
