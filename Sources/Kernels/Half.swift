internal import CKernels

/// A floating-point storage format: little-endian, unaligned, contiguous.
package enum FloatFormat: CaseIterable, Sendable {
  case float16
  case bfloat16
  case float32
  case float64

  /// The number of bytes of a value.
  package var byteCount: Int {
    switch self {
    case .float16, .bfloat16: 2
    case .float32: 4
    case .float64: 8
    }
  }

  /// Converts stored values to floats.
  ///
  /// The conversion is exact, except that float64 is rounded half to even. A NaN keeps the leading
  /// bits of its payload. It becomes a quiet NaN, except in bfloat16 and float32, whose bits are
  /// copied.
  ///
  /// - Parameters:
  ///   - bytes: `values.count` × `byteCount` bytes, at any alignment.
  ///   - values: Receives one float per stored value.
  ///   - instructions: The instruction set to use.
  package func decode(
    _ bytes: Span<UInt8>, into values: inout MutableSpan<Float>,
    on instructions: InstructionSet = .best
  ) {
    let count = values.count
    precondition(bytes.count == count * byteCount, "bytes and values differ in count")
    let set = instructions.identifier
    // In bounds by the precondition.
    unsafe bytes.withUnsafeBytes { bytes in
      unsafe values.withUnsafeMutableBufferPointer { values in
        let (source, target) = (bytes.baseAddress, values.baseAddress)
        switch self {
        case .float16: unsafe pleat_f16_to_f32(set, source, count, target)
        case .bfloat16: unsafe pleat_bf16_to_f32(set, source, count, target)
        case .float32: unsafe UnsafeMutableRawBufferPointer(values).copyMemory(from: bytes)
        case .float64: unsafe pleat_f64_to_f32(set, source, count, target)
        }
      }
    }
  }

  /// Converts floats to this format.
  ///
  /// Values are rounded half to even, and become infinite if they are too large. A NaN keeps the
  /// leading bits of its payload. It becomes a quiet NaN, except in float32, whose bits are copied.
  ///
  /// - Parameters:
  ///   - values: The floats to store.
  ///   - bytes: Receives `values.count` × `byteCount` bytes, at any alignment.
  ///   - instructions: The instruction set to use.
  package func encode(
    _ values: Span<Float>, into bytes: inout MutableRawSpan,
    on instructions: InstructionSet = .best
  ) {
    let count = values.count
    precondition(bytes.byteCount == count * byteCount, "bytes and values differ in count")
    let set = instructions.identifier
    // In bounds by the precondition.
    unsafe values.withUnsafeBufferPointer { values in
      unsafe bytes.withUnsafeMutableBytes { bytes in
        let (source, target) = (values.baseAddress, bytes.baseAddress)
        switch self {
        case .float16: unsafe pleat_f32_to_f16(set, source, count, target)
        case .bfloat16: unsafe pleat_f32_to_bf16(set, source, count, target)
        case .float32: unsafe bytes.copyMemory(from: UnsafeRawBufferPointer(values))
        case .float64: unsafe pleat_f32_to_f64(set, source, count, target)
        }
      }
    }
  }

  var identifier: pleat_format {
    switch self {
    case .float16: PLEAT_FLOAT16
    case .bfloat16: PLEAT_BFLOAT16
    case .float32, .float64: PLEAT_FLOAT32
    }
  }
}
