package import TensorModel

/// How the bytes of a part follow from those of its stored tensor.
package enum PartForm: Sendable, Hashable {
  /// They are the same.
  case stored
  /// They are one byte for each code, from codes that share bytes or words.
  case codes(CodeFields)
  /// They are the stored bytes again and again: parameters that distant rows share.
  case repeated
  /// They are codes or zero points without a sign, from signed bytes.
  case centered(CenteredBytes)
}

extension PartForm {
  /// The encoding of the bytes of the part.
  package func encoding(_ stored: Encoding) -> Encoding {
    switch self {
    case .stored, .repeated: stored
    case .codes, .centered: .plain(.u8)
    }
  }

  /// Some bytes of the part.
  ///
  /// - Parameters:
  ///   - range: The range of bytes of the part.
  ///   - stored: The stored tensor.
  ///   - read: Reads a range of its bytes.
  /// - Returns: As many bytes as the range has.
  /// - Throws: `malformed` for a code that its width does not permit, and what `read` throws.
  package func bytes(
    _ range: Range<Int>, of stored: StoredTensor,
    _ read: (Range<Int>) throws(ModelError) -> [UInt8]
  ) throws(ModelError) -> [UInt8] {
    do throws(ModelError) {
      switch self {
      case .stored: return try read(range)
      case .codes(let fields): return try fields.codes(range, read)
      case .centered(let bytes): return try bytes.numbers(range, read)
      case .repeated: return try Self.repeated(range, stored.byteCount, read)
      }
    } catch {
      throw error.located(tensor: stored.name)
    }
  }

  private static func repeated(
    _ range: Range<Int>, _ period: Int, _ read: (Range<Int>) throws(ModelError) -> [UInt8]
  ) throws(ModelError) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(range.count)
    var position = range.lowerBound
    while position < range.upperBound {
      let start = position % period
      let end = min(period, start + range.upperBound - position)
      result += try read(start..<end)
      position += end - start
    }
    return result
  }
}

/// Codes that share units, which are bytes or words of 32 bits, with codes that are far away.
///
/// The codes are divided into runs of equal length, one for each field of a unit: field k of unit u
/// holds code k · `unitCount` + u. The first run is in the highest bits. The last run may be longer
/// than there are codes.
package struct CodeFields: Sendable, Hashable {
  /// The number of bits of a field: 1, 2, 3, 4 or 8.
  let bits: Int
  /// The number of units.
  let unitCount: Int
  /// The largest code that the tool makes, at most 2^bits − 1.
  let largestCode: Int
  /// The number of columns of the weight, for messages.
  let columnCount: Int

  /// The length of a unit in bytes: fields of three bits are in words of 32 bits, others in bytes.
  var unitByteCount: Int { Self.unitByteCount(bits) }
  /// The number of fields in a unit.
  var fieldCount: Int { Self.fieldCount(bits) }

  static func unitByteCount(_ bits: Int) -> Int { bits == 3 ? 4 : 1 }
  static func fieldCount(_ bits: Int) -> Int { bits == 3 ? 10 : 8 / bits }

  /// The codes in a range, one byte each.
  fileprivate func codes(
    _ range: Range<Int>, _ read: (Range<Int>) throws(ModelError) -> [UInt8]
  ) throws(ModelError) -> [UInt8] {
    var codes: [UInt8] = []
    codes.reserveCapacity(range.count)
    let width = unitByteCount
    while codes.count < range.count {
      let (field, first) = (range.lowerBound + codes.count).quotientAndRemainder(
        dividingBy: unitCount)
      let count = min(unitCount - first, range.count - codes.count)
      let units = try read(first * width..<(first + count) * width)
      let shift = (fieldCount - 1 - field) * bits
      let mask = UInt8(truncatingIfNeeded: (1 << bits) - 1)
      if width == 1 {
        for unit in units { codes.append(unit >> shift & mask) }
      } else {
        for unit in GroupIndex.numbers(units) {
          codes.append(UInt8(truncatingIfNeeded: unit >> shift) & mask)
        }
      }
    }
    guard largestCode < (1 << bits) - 1, let index = codes.firstIndex(where: { $0 > largestCode })
    else { return codes }
    let (row, column) = (range.lowerBound + index).quotientAndRemainder(dividingBy: columnCount)
    throw ModelError(
      .malformed, "a code is larger than its bits permit", expected: "0 to \(largestCode)",
      found: "\(codes[index]) in row \(row), column \(column)")
  }
}

/// Signed bytes that are codes or zero points of a width.
package struct CenteredBytes: Sendable, Hashable {
  /// The least and the largest number that the width permits.
  let limits: ClosedRange<Int>
  /// What is added to each number.
  let center: Int

  /// Numbers in a range of bytes, without a sign.
  fileprivate func numbers(
    _ range: Range<Int>, _ read: (Range<Int>) throws(ModelError) -> [UInt8]
  ) throws(ModelError) -> [UInt8] {
    var bytes = try read(range)
    for index in bytes.indices {
      let number = Int(Int8(bitPattern: bytes[index]))
      guard limits.contains(number) else {
        throw ModelError(
          .malformed, "a code or zero point is larger than its bits permit",
          expected: "\(limits.lowerBound) to \(limits.upperBound)",
          found: "\(number) at index \(range.lowerBound + index)")
      }
      bytes[index] = UInt8(number + center)
    }
    return bytes
  }
}
