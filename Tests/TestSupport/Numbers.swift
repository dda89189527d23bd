package import TensorModel

/// Converts between floats and little-endian bytes, independently of the code under test.
package enum Numbers {
  /// The bytes of numbers in F16, BF16 or F32.
  package static func bytes(_ values: [Float], _ type: ScalarType) -> [UInt8] {
    switch type {
    case .f16: f16(values)
    case .bf16: bf16(values)
    default: f32(values)
    }
  }

  /// The floats of F16, BF16 or F32 bytes.
  package static func floats(_ bytes: [UInt8], _ type: ScalarType) -> [Float] {
    switch type {
    case .f16: floats(f16: bytes)
    case .bf16: floats(bf16: bytes)
    default: floats(f32: bytes)
    }
  }

  /// Numbers rounded to F16, BF16 or F32.
  package static func rounded(_ values: [Float], to type: ScalarType) -> [Float] {
    floats(bytes(values, type), type)
  }

  /// The F32 bytes of numbers.
  package static func f32(_ values: [Float]) -> [UInt8] {
    little(values.map(\.bitPattern))
  }

  /// The F16 bytes of numbers, rounded half to even.
  package static func f16(_ values: [Float]) -> [UInt8] {
    little(values.map { Float16($0).bitPattern })
  }

  /// The BF16 bytes of finite numbers, rounded half to even.
  package static func bf16(_ values: [Float]) -> [UInt8] {
    little(
      values.map { value in
        let bits = value.bitPattern
        return UInt16((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
      })
  }

  /// The floats of F16 bytes.
  package static func floats(f16 bytes: [UInt8]) -> [Float] {
    stride(from: 0, to: bytes.count, by: 2).map {
      Float(Float16(bitPattern: UInt16(bytes[$0]) | UInt16(bytes[$0 + 1]) << 8))
    }
  }

  /// The floats of BF16 bytes.
  package static func floats(bf16 bytes: [UInt8]) -> [Float] {
    stride(from: 0, to: bytes.count, by: 2).map {
      Float(bitPattern: UInt32(bytes[$0]) << 16 | UInt32(bytes[$0 + 1]) << 24)
    }
  }

  /// The floats of F32 bytes.
  package static func floats(f32 bytes: [UInt8]) -> [Float] {
    stride(from: 0, to: bytes.count, by: 4).map { start in
      Float(bitPattern: (0..<4).reduce(0) { $0 | UInt32(bytes[start + $1]) << (8 * $1) })
    }
  }

  // Copies all values at once, since tests convert millions of numbers in debug builds.
  private static func little<T: FixedWidthInteger>(_ values: [T]) -> [UInt8] {
    values.map(\.littleEndian).withUnsafeBytes { Array($0) }
  }

  /// The little-endian bytes of an integer.
  package static func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    (0..<T.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }
}
