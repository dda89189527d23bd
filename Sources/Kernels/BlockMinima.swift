internal import CKernels

extension BlockType {
  /// The number of values in a sub-block that subtracts a minimum; nil for types without minima.
  package var minimumSize: Int? {
    switch self {
    case .q2_K: 16
    case .q4_K, .q5_K: 32
    default: nil
    }
  }

  /// The bytes of a block that contain its codes, for types with minima; empty for others.
  private var codeBytes: Range<Int> {
    switch self {
    case .q2_K: 16..<80
    case .q4_K, .q5_K: 16..<byteCount
    default: 0..<0
    }
  }

  /// Adds a number to all weights of each sub-block, as nearly as its minimum can be stored.
  ///
  /// A minimum is an integer of 4 bits (Q2_K) or 6 bits (Q4_K, Q5_K) times a step for the block, in
  /// F16. Both are chosen anew, so that the sum of the squared errors over the block is small; codes
  /// and scales stay. A block whose numbers are all 0 does not change.
  ///
  /// - Parameters:
  ///   - delta: One finite number for each sub-block of `minimumSize` values.
  ///   - blocks: Whole blocks of a type with minima, at any alignment; changed in place.
  ///   - instructions: The instruction set to use.
  package func moveMinima(
    by delta: Span<Float>, in blocks: inout MutableRawSpan,
    on instructions: InstructionSet = .best
  ) {
    guard let minimumSize else { preconditionFailure("\(self) has no minima") }
    let count = delta.count * minimumSize / elementCount
    precondition(blocks.byteCount == count * byteCount, "expected one number per sub-block")
    precondition(delta.count * minimumSize == count * elementCount, "expected whole blocks")
    // In bounds by the preconditions.
    let isKnown = unsafe delta.withUnsafeBufferPointer { delta in
      unsafe blocks.withUnsafeMutableBytes { blocks in
        unsafe pleat_ggml_move_minima(
          instructions.identifier, rawValue, blocks.baseAddress, count, delta.baseAddress)
      }
    }
    precondition(isKnown, "the kernel knows all types with minima")
  }

  /// The number of bytes of codes that differ between blocks of a type with minima.
  package func differingCodeBytes(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Int {
    precondition(left.count == right.count, "expected as many blocks")
    var count = 0
    for block in 0..<left.count / byteCount {
      let first = block * byteCount + codeBytes.lowerBound
      for offset in first..<first + codeBytes.count
      where left[left.startIndex + offset] != right[right.startIndex + offset] {
        count += 1
      }
    }
    return count
  }
}
