internal import CKernels
package import TensorModel

/// Encodes groups with a small squared error.
///
/// Each function searches scales and offsets, and takes those with the smallest sum of
/// weight · (w − decoded)². It is never larger, in any group, than that of the standard encoding of
/// the same form, nor than that of a lower effort. Faults are those of the standard encoding. Each
/// call allocates scratch memory: a few times the size of 16 groups, or of two long ones.
///
/// `weights` has a weight for each value of a row, which is the same for all rows: whole groups of
/// finite numbers that are not negative. If it is empty, all values count the same. Within a group,
/// weights count relative to their mean, and at least 1e-6 of it. If all weights of a group are 0,
/// its values count the same.
extension GroupKernel {
  /// Encodes groups as `w ≈ scale · code + bias`, at least as well as `encodeMinMax`.
  ///
  /// - Parameters:
  ///   - values: groups × groupSize floats.
  ///   - weights: The weights of the values of a row; empty if all count the same.
  ///   - effort: How many scales and offsets are tried.
  ///   - codes: Receives groups × groupSize codes, one per byte.
  ///   - scales: Receives one scale per group, never negative.
  ///   - biases: Receives one bias per group.
  ///   - instructions: The instruction set to use.
  /// - Throws: `GroupFault`; the outputs are then meaningless.
  package func searchAffine(
    _ values: Span<Float>, weights: Span<Float>, effort: Effort, codes: inout MutableSpan<UInt8>,
    scales: inout MutableSpan<Float>, biases: inout MutableSpan<Float>,
    on instructions: InstructionSet = .best
  ) throws(GroupFault) {
    // In bounds: `search` checks the counts.
    try unsafe search(
      values, weights, effort, &codes, &scales, &biases, instructions, pleat_search_affine)
  }

  /// Encodes groups as `w ≈ scale · (code − symmetricZero)`, at least as well as `encodeSymmetric`.
  ///
  /// - Parameters:
  ///   - values: groups × groupSize floats.
  ///   - weights: The weights of the values of a row; empty if all count the same.
  ///   - effort: How many scales are tried.
  ///   - codes: Receives groups × groupSize codes, one per byte.
  ///   - scales: Receives one scale per group, which may be negative.
  ///   - instructions: The instruction set to use.
  /// - Throws: `GroupFault`; the outputs are then meaningless.
  package func searchSymmetric(
    _ values: Span<Float>, weights: Span<Float>, effort: Effort, codes: inout MutableSpan<UInt8>,
    scales: inout MutableSpan<Float>, on instructions: InstructionSet = .best
  ) throws(GroupFault) {
    var none = MutableSpan<Float>()
    // In bounds: `search` checks the counts, and there are no offsets.
    try unsafe search(
      values, weights, effort, &codes, &scales, &none, hasOffsets: false, instructions
    ) {
      set, values, count, size, bits, format, weights, width, effort, scratch, codes, scales, _ in
      unsafe pleat_search_symmetric(
        set, values, count, size, bits, format, weights, width, effort, scratch, codes, scales)
    }
  }

  /// Encodes groups as `w ≈ scale · (code − zero)`, at least as well as `encodeZeroPoint`.
  ///
  /// - Parameters:
  ///   - values: groups × groupSize floats.
  ///   - weights: The weights of the values of a row; empty if all count the same.
  ///   - effort: How many scales and zero points are tried.
  ///   - codes: Receives groups × groupSize codes, one per byte.
  ///   - scales: Receives one scale per group, never negative.
  ///   - zeros: Receives one zero point per group, an integer in the range of the codes.
  ///   - instructions: The instruction set to use.
  /// - Throws: `GroupFault`; the outputs are then meaningless.
  package func searchZeroPoint(
    _ values: Span<Float>, weights: Span<Float>, effort: Effort, codes: inout MutableSpan<UInt8>,
    scales: inout MutableSpan<Float>, zeros: inout MutableSpan<Float>,
    on instructions: InstructionSet = .best
  ) throws(GroupFault) {
    // In bounds: `search` checks the counts.
    try unsafe search(
      values, weights, effort, &codes, &scales, &zeros, instructions, pleat_search_zero_point)
  }

  /// A C search that writes codes, and a scale and an offset for each group.
  private typealias Search = (
    pleat_instructions, UnsafePointer<Float>?, Int, Int, Int32, pleat_format,
    UnsafePointer<Float>?, Int, Int32, UnsafeMutablePointer<Float>?, UnsafeMutablePointer<UInt8>?,
    UnsafeMutablePointer<Float>?, UnsafeMutablePointer<Float>?
  ) -> Int64

  private func search(
    _ values: Span<Float>, _ weights: Span<Float>, _ effort: Effort,
    _ codes: inout MutableSpan<UInt8>, _ scales: inout MutableSpan<Float>,
    _ offsets: inout MutableSpan<Float>, hasOffsets: Bool = true, _ instructions: InstructionSet,
    _ search: Search
  ) throws(GroupFault) {
    let groups = groupCount(values: values.count, codes: codes.count, scales: scales.count)
    precondition(
      offsets.count == (hasOffsets ? groups : 0), "expected one offset per group, if it has one")
    precondition(weights.count % groupSize == 0, "expected weights of whole groups")
    // In bounds by the preconditions: whole groups, one of each parameter per group, and weights of
    // whole groups, which C takes in turn. The scratch memory is as large as C asks for.
    let outcome = unsafe withUnsafeTemporaryAllocation(
      of: Float.self, capacity: pleat_search_scratch(groupSize)
    ) { scratch in
      unsafe values.withUnsafeBufferPointer { values in
        unsafe weights.withUnsafeBufferPointer { weights in
          unsafe codes.withUnsafeMutableBufferPointer { codes in
            unsafe scales.withUnsafeMutableBufferPointer { scales in
              unsafe offsets.withUnsafeMutableBufferPointer { offsets in
                unsafe search(
                  instructions.identifier, values.baseAddress, groups, groupSize, Int32(bits),
                  parameters.identifier, weights.isEmpty ? nil : weights.baseAddress,
                  weights.count / groupSize, Int32(effort.level), scratch.baseAddress,
                  codes.baseAddress, scales.baseAddress, offsets.baseAddress)
              }
            }
          }
        }
      }
    }
    try check(outcome)
  }
}

extension Effort {
  /// The number that the C kernels use.
  fileprivate var level: Int {
    switch self {
    case .fast: 0
    case .default: 1
    case .best: 2
    }
  }
}
