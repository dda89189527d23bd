internal import CKernels

// The cases have the names of GGML.
// swift-format-ignore: AlwaysUseLowerCamelCase
/// A GGML block type that Pleat decodes; the raw value is its number in a GGUF file.
package enum BlockType: UInt32, CaseIterable, Sendable {
  case q4_0 = 2
  case q4_1 = 3
  case q5_0 = 6
  case q5_1 = 7
  case q8_0 = 8
  case q2_K = 10
  case q3_K = 11
  case q4_K = 12
  case q5_K = 13
  case q6_K = 14
  case iq2_XXS = 16
  case iq2_XS = 17
  case iq3_XXS = 18
  case iq1_S = 19
  case iq4_NL = 20
  case iq3_S = 21
  case iq2_S = 22
  case iq4_XS = 23
  case iq1_M = 29
  case tq1_0 = 34
  case tq2_0 = 35
  case mxfp4 = 39
  case nvfp4 = 40
  case q1_0 = 41
  case q2_0 = 42

  /// The number of values in a block.
  package var elementCount: Int {
    switch self {
    case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .iq4_NL, .mxfp4: 32
    case .nvfp4, .q2_0: 64
    case .q1_0: 128
    case .q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .iq4_XS, .tq1_0, .tq2_0: 256
    case .iq1_S, .iq1_M, .iq2_XXS, .iq2_XS, .iq2_S, .iq3_XXS, .iq3_S: 256
    }
  }

  /// The number of bytes of a block.
  package var byteCount: Int {
    switch self {
    case .q4_0: 18
    case .q4_1: 20
    case .q5_0: 22
    case .q5_1: 24
    case .q8_0: 34
    case .q2_K: 84
    case .q3_K: 110
    case .q4_K: 144
    case .q5_K: 176
    case .q6_K: 210
    case .iq2_XXS: 66
    case .iq2_XS: 74
    case .iq3_XXS: 98
    case .iq1_S: 50
    case .iq4_NL: 18
    case .iq3_S: 110
    case .iq2_S: 82
    case .iq4_XS: 136
    case .iq1_M: 56
    case .tq1_0: 54
    case .tq2_0: 66
    case .mxfp4: 17
    case .nvfp4: 36
    case .q1_0, .q2_0: 18
    }
  }

  /// Whether Pleat makes blocks of the type, and does not only read them.
  package var isEncodable: Bool {
    switch self {
    case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .iq4_NL, .iq4_XS, .tq1_0, .tq2_0, .mxfp4: true
    case .q2_K, .q3_K, .q4_K, .q5_K, .q6_K: true
    case .iq1_S, .iq1_M, .iq2_XXS, .iq2_XS, .iq2_S, .iq3_XXS, .iq3_S: false
    case .nvfp4, .q1_0, .q2_0: false
    }
  }

  /// How a block stores one group of 32 codes, if its scale and bias are not quantized further.
  package enum GroupForm: Sendable, Equatable {
    /// scale · (code − 2^(bits − 1)), without a bias.
    case symmetric(bits: Int)
    /// scale · code + bias.
    case affine(bits: Int)
  }

  /// The group form of the block, or nil; `encode`, `pack` and `unpack` require one.
  package var groupForm: GroupForm? {
    switch self {
    case .q4_0: .symmetric(bits: 4)
    case .q5_0: .symmetric(bits: 5)
    case .q8_0: .symmetric(bits: 8)
    case .q4_1: .affine(bits: 4)
    case .q5_1: .affine(bits: 5)
    default: nil
    }
  }

  /// Decodes whole blocks to floats, bit for bit as the Python reference of the gguf package.
  ///
  /// Q1_0 and Q2_0, which the package does not decode, are decoded as in ggml/src/ggml-quants.c.
  ///
  /// - Parameters:
  ///   - blocks: blocks × `byteCount` bytes, at any alignment.
  ///   - values: Receives blocks × `elementCount` floats.
  ///   - instructions: The instruction set to use.
  package func decode(
    _ blocks: Span<UInt8>, into values: inout MutableSpan<Float>,
    on instructions: InstructionSet = .best
  ) {
    let count = blockCount(bytes: blocks.count, elements: values.count)
    // In bounds by the precondition of `blockCount`.
    let known = unsafe blocks.withUnsafeBytes { blocks in
      unsafe values.withUnsafeMutableBufferPointer { values in
        unsafe pleat_ggml_decode(
          instructions.identifier, rawValue, blocks.baseAddress, count, values.baseAddress)
      }
    }
    precondition(known, "no decoder for block type \(self)")
  }

  /// Packs groups of 32 codes without biases into blocks; scales are rounded to float16.
  ///
  /// - Parameters:
  ///   - codes: blocks × 32 codes, one per byte, each below 2^bits.
  ///   - scales: One scale per block.
  ///   - blocks: Receives blocks × `byteCount` bytes, at any alignment.
  ///   - instructions: The instruction set to use.
  package func pack(
    codes: Span<UInt8>, scales: Span<Float>, into blocks: inout MutableRawSpan,
    on instructions: InstructionSet = .best
  ) {
    guard case .symmetric = groupForm else { preconditionFailure("\(self) is not symmetric") }
    let count = blockCount(bytes: blocks.byteCount, elements: codes.count)
    precondition(scales.count == count, "expected one scale per block")
    // In bounds by the preconditions: whole blocks, and one of each parameter per block.
    unsafe codes.withUnsafeBufferPointer { codes in
      unsafe scales.withUnsafeBufferPointer { scales in
        unsafe blocks.withUnsafeMutableBytes { blocks in
          _ = unsafe pleat_ggml_pack(
            instructions.identifier, rawValue, codes.baseAddress, scales.baseAddress, nil, count,
            blocks.baseAddress)
        }
      }
    }
  }

  /// Packs groups of 32 codes with biases into blocks; scales and biases are rounded to float16.
  ///
  /// - Parameters:
  ///   - codes: blocks × 32 codes, one per byte, each below 2^bits.
  ///   - scales: One scale per block.
  ///   - biases: One bias per block.
  ///   - blocks: Receives blocks × `byteCount` bytes, at any alignment.
  ///   - instructions: The instruction set to use.
  package func pack(
    codes: Span<UInt8>, scales: Span<Float>, biases: Span<Float>,
    into blocks: inout MutableRawSpan, on instructions: InstructionSet = .best
  ) {
    guard case .affine = groupForm else { preconditionFailure("\(self) has no biases") }
    let count = blockCount(bytes: blocks.byteCount, elements: codes.count)
    precondition(scales.count == count && biases.count == count, "expected one per block")
    // In bounds by the preconditions: whole blocks, and one of each parameter per block.
    unsafe codes.withUnsafeBufferPointer { codes in
      unsafe scales.withUnsafeBufferPointer { scales in
        unsafe biases.withUnsafeBufferPointer { biases in
          unsafe blocks.withUnsafeMutableBytes { blocks in
            _ = unsafe pleat_ggml_pack(
              instructions.identifier, rawValue, codes.baseAddress, scales.baseAddress,
              biases.baseAddress, count, blocks.baseAddress)
          }
        }
      }
    }
  }

  /// Unpacks symmetric blocks exactly: the inverse of `pack(codes:scales:into:)`.
  ///
  /// - Parameters:
  ///   - blocks: blocks × `byteCount` bytes, at any alignment.
  ///   - codes: Receives blocks × 32 codes, one per byte.
  ///   - scales: Receives one scale per block.
  ///   - instructions: The instruction set to use.
  package func unpack(
    _ blocks: Span<UInt8>, codes: inout MutableSpan<UInt8>, scales: inout MutableSpan<Float>,
    on instructions: InstructionSet = .best
  ) {
    guard case .symmetric = groupForm else { preconditionFailure("\(self) is not symmetric") }
    let count = blockCount(bytes: blocks.count, elements: codes.count)
    precondition(scales.count == count, "expected one scale per block")
    // In bounds by the preconditions: whole blocks, and one of each parameter per block.
    unsafe blocks.withUnsafeBytes { blocks in
      unsafe codes.withUnsafeMutableBufferPointer { codes in
        unsafe scales.withUnsafeMutableBufferPointer { scales in
          _ = unsafe pleat_ggml_unpack(
            instructions.identifier, rawValue, blocks.baseAddress, count, codes.baseAddress,
            scales.baseAddress, nil)
        }
      }
    }
  }

  /// Unpacks affine blocks exactly: the inverse of `pack(codes:scales:biases:into:)`.
  ///
  /// - Parameters:
  ///   - blocks: blocks × `byteCount` bytes, at any alignment.
  ///   - codes: Receives blocks × 32 codes, one per byte.
  ///   - scales: Receives one scale per block.
  ///   - biases: Receives one bias per block.
  ///   - instructions: The instruction set to use.
  package func unpack(
    _ blocks: Span<UInt8>, codes: inout MutableSpan<UInt8>, scales: inout MutableSpan<Float>,
    biases: inout MutableSpan<Float>, on instructions: InstructionSet = .best
  ) {
    guard case .affine = groupForm else { preconditionFailure("\(self) has no biases") }
    let count = blockCount(bytes: blocks.count, elements: codes.count)
    precondition(scales.count == count && biases.count == count, "expected one per block")
    // In bounds by the preconditions: whole blocks, and one of each parameter per block.
    unsafe blocks.withUnsafeBytes { blocks in
      unsafe codes.withUnsafeMutableBufferPointer { codes in
        unsafe scales.withUnsafeMutableBufferPointer { scales in
          unsafe biases.withUnsafeMutableBufferPointer { biases in
            _ = unsafe pleat_ggml_unpack(
              instructions.identifier, rawValue, blocks.baseAddress, count, codes.baseAddress,
              scales.baseAddress, biases.baseAddress)
          }
        }
      }
    }
  }

  private func blockCount(bytes: Int, elements: Int) -> Int {
    precondition(elements % elementCount == 0, "expected whole blocks")
    let count = elements / elementCount
    precondition(bytes == count * byteCount, "bytes and elements differ in block count")
    return count
  }
}
