internal import CKernels

extension BlockType {
  /// How the sub-blocks of Q2_K to Q6_K are packed as groups; nil for other types.
  package var packedGroups: PackedMatrix.Groups? {
    switch self {
    case .q2_K: .init(bits: 2, size: 16, .bias, parameters: .float32)
    case .q3_K: .init(bits: 3, size: 16, .centered(4), parameters: .float32)
    case .q4_K: .init(bits: 4, size: 32, .bias, parameters: .float32)
    case .q5_K: .init(bits: 5, size: 32, .bias, parameters: .float32)
    case .q6_K: .init(bits: 6, size: 16, .centered(32), parameters: .float32)
    default: nil
    }
  }

  /// The codes of blocks with packed groups, one per byte, and a scale and a bias for each sub-block.
  ///
  /// A weight is scale · code + bias, or scale · (code − zero) without biases.
  ///
  /// - Parameters:
  ///   - blocks: Whole blocks, at any alignment.
  ///   - instructions: The instruction set to use.
  /// - Returns: blocks × `elementCount` codes, a scale for each group, and a bias for each group with
  ///   one.
  package func subBlocks(
    of blocks: Span<UInt8>, on instructions: InstructionSet = .best
  ) -> (codes: [UInt8], scales: [Float], offsets: [Float]) {
    guard let groups = packedGroups else { preconditionFailure("\(self) has no sub-blocks") }
    let count = blocks.count / byteCount
    precondition(blocks.count == count * byteCount, "expected whole blocks")
    var codes: [UInt8] = Array(repeating: 0, count: count * elementCount)
    let groupCount = codes.count / groups.size
    var scales: [Float] = Array(repeating: 0, count: groupCount)
    var minima: [Float] = Array(repeating: 0, count: groups.offset == .bias ? groupCount : 0)
    // In bounds: the arrays have a place for each code and each sub-block.
    let isKnown = unsafe blocks.withUnsafeBytes { blocks in
      unsafe codes.withUnsafeMutableBufferPointer { codes in
        unsafe scales.withUnsafeMutableBufferPointer { scales in
          unsafe minima.withUnsafeMutableBufferPointer { minima in
            unsafe pleat_ggml_unpack_k(
              instructions.identifier, rawValue, blocks.baseAddress, count, codes.baseAddress,
              scales.baseAddress, minima.baseAddress)
          }
        }
      }
    }
    precondition(isKnown, "the kernel knows all types with packed groups")
    return (codes, scales, minima.map { -$0 })
  }
}
