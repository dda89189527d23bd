internal import CKernels

/// A CRC-32C (Castagnoli) checksum, as in RFC 3720, of bytes that may come in pieces.
package struct CRC32C: Sendable, Hashable {
  /// The checksum of all bytes so far; 0 if there are none.
  package private(set) var value: UInt32

  /// Creates the checksum of no bytes, or continues from an earlier one.
  package init(_ value: UInt32 = 0) {
    self.value = value
  }

  /// The checksum of a span.
  package init(of bytes: RawSpan, on instructions: InstructionSet = .best) {
    self.init()
    update(bytes, on: instructions)
  }

  /// The checksum of a span.
  package init(of bytes: Span<UInt8>, on instructions: InstructionSet = .best) {
    self.init()
    update(bytes, on: instructions)
  }

  /// Adds the next bytes.
  package mutating func update(_ bytes: Span<UInt8>, on instructions: InstructionSet = .best) {
    // Safety: bytes have no padding.
    unsafe update(bytes.bytes, on: instructions)
  }

  /// Adds the next bytes.
  package mutating func update(_ bytes: RawSpan, on instructions: InstructionSet = .best) {
    // In bounds: the pointer is passed with its own count.
    value = unsafe bytes.withUnsafeBytes {
      unsafe pleat_crc32c(instructions.identifier, value, $0.baseAddress, $0.count)
    }
  }

  /// Adds the next `byteCount` bytes, of which only the checksum is known.
  package mutating func append(_ next: CRC32C, byteCount: Int) {
    precondition(byteCount >= 0, "expected a byte count")
    value = pleat_crc32c_combine(value, next.value, UInt64(byteCount))
  }
}

extension CRC32C {
  /// The value as eight lower-case hexadecimal digits.
  package var text: String {
    // In bounds: the buffer has room for eight digits. All of them are written.
    unsafe String(unsafeUninitializedCapacity: 8) { buffer in
      for index in 0..<8 {
        let digit = UInt8(truncatingIfNeeded: value >> UInt32(28 - 4 * index)) & 0xF
        unsafe buffer[index] = digit + (digit < 10 ? UInt8(ascii: "0") : UInt8(ascii: "a") - 10)
      }
      return 8
    }
  }

  /// Parses eight hexadecimal digits; nil for any other text.
  package init?(text: String) {
    // Journals have millions of them, so bytes are compared instead of characters.
    let areDigits = text.utf8.allSatisfy { 0x30...0x39 ~= $0 || 0x61...0x66 ~= $0 | 0x20 }
    guard text.utf8.count == 8, areDigits, let value = UInt32(text, radix: 16) else { return nil }
    self.init(value)
  }
}
