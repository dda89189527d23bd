package import TensorModel

/// The numbers that small codes stand for.
package struct CodeTable: Sendable {
  /// The number of each code; 2^bits numbers.
  package let values: [Float]
  /// The width of a code in bits: 4, 6 or 8.
  package let bits: Int
  /// Whether the first of two codes in a byte is in its high half.
  private var isHighFirst = false

  /// Creates a table of the numbers of 4-bit codes, of which the first in a byte is in its high half.
  package init(highFirst numbers: [Float]) {
    precondition(numbers.count == 16)
    (values, bits, isHighFirst) = (numbers, 4, true)
  }

  /// Creates the table of a type; nil unless it has 4, 6 or 8 bits and a value for each code.
  ///
  /// The floating-point types are those of the OCP Microscaling Formats specification 1.0, which
  /// are IEEE 754 numbers with other special values: E4M3 has NaN but no infinity, E2M1 and E2M3
  /// have neither, and E8M0 is an exponent without a sign.
  package init?(_ type: ScalarType) {
    guard let table = Self.tables[type] else { return nil }
    self = table
  }

  // Rows are decoded in small runs, for which tables would be made again and again.
  private static let tables = Dictionary(
    uniqueKeysWithValues: [
      ScalarType.f4, .f6e2m3, .f8e4m3, .f8e5m2, .f8e8m0, .i8,
    ].compactMap { type in CodeTable(making: type).map { (type, $0) } })

  private init?(making type: ScalarType) {
    bits = type.bitWidth
    let codes = 0..<(1 << type.bitWidth)
    switch type {
    case .f4: values = codes.map { Self.number($0, exponentBits: 2, mantissaBits: 1) }
    case .f6e2m3: values = codes.map { Self.number($0, exponentBits: 2, mantissaBits: 3) }
    case .f8e4m3:
      values = codes.map {
        $0 & 0x7f == 0x7f ? .nan : Self.number($0, exponentBits: 4, mantissaBits: 3)
      }
    case .f8e5m2:
      values = codes.map { code in
        switch code & 0x7f {
        case 0x7c: code < 0x80 ? .infinity : -.infinity
        case 0x7d...: .nan
        default: Self.number(code, exponentBits: 5, mantissaBits: 2)
        }
      }
    case .f8e8m0:
      values = codes.map {
        $0 == 0xff ? .nan : Float(sign: .plus, exponent: $0 - 127, significand: 1)
      }
    case .i8: values = codes.map { Float(Int8(truncatingIfNeeded: $0)) }
    default: return nil
    }
  }

  /// A number of a sign, an exponent and a mantissa, without special values.
  private static func number(_ code: Int, exponentBits: Int, mantissaBits: Int) -> Float {
    let bias = (1 << (exponentBits - 1)) - 1
    let mantissa = Float(code & ((1 << mantissaBits) - 1)) / Float(1 << mantissaBits)
    let exponent = code >> mantissaBits & ((1 << exponentBits) - 1)
    let magnitude =
      exponent == 0
      ? Float(sign: .plus, exponent: 1 - bias, significand: mantissa)
      : Float(sign: .plus, exponent: exponent - bias, significand: 1 + mantissa)
    return code >> (exponentBits + mantissaBits) == 0 ? magnitude : -magnitude
  }

  /// Decodes a run of codes that share a scale: the product of number and scale, rounded once.
  ///
  /// Codes are packed from the lowest bit on, unless the first one is in the high half of a byte.
  /// The run begins at a byte.
  ///
  /// - Parameters:
  ///   - codes: Bytes that contain the run.
  ///   - offset: The first byte of the run.
  ///   - scale: The scale.
  ///   - values: Receives the numbers of the run.
  ///   - range: The places of the numbers in `values`.
  package func decode(
    _ codes: Span<UInt8>, at offset: Int, scale: Float, into values: inout MutableSpan<Float>,
    _ range: Range<Int>
  ) {
    let table = self.values.span
    switch bits {
    case 8:
      let shift = offset - range.lowerBound
      for index in range { values[index] = table[Int(codes[index + shift])] * scale }
    case 4:
      let flip = isHighFirst ? 1 : 0
      for index in range {
        let place = index - range.lowerBound
        let code = codes[offset + place >> 1] >> UInt8((place & 1 ^ flip) * 4) & 0xf
        values[index] = table[Int(code)] * scale
      }
    default:
      // Four codes of 6 bits fill three bytes.
      for index in range {
        let first = (index - range.lowerBound) * bits
        let (byte, bit) = (offset + first >> 3, first & 7)
        let high = bit + bits > 8 ? Int(codes[byte + 1]) : 0
        let code = (high << 8 | Int(codes[byte])) >> bit & ((1 << bits) - 1)
        values[index] = table[code] * scale
      }
    }
  }
}
