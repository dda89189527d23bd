internal import CKernels

/// A field of some bytes in records of equal length that follow each other.
package struct ByteField: Sendable, Hashable {
  /// The bytes of a record before the field.
  package let offset: Int
  /// The bytes of the field.
  package let width: Int
  /// The bytes of a record.
  package let stride: Int

  package init(offset: Int, width: Int, stride: Int) {
    precondition(offset >= 0 && width > 0 && offset + width <= stride, "the field is in the record")
    self.offset = offset
    self.width = width
    self.stride = stride
  }

  /// The fields of whole records, one after the other.
  package func gather(_ records: [UInt8]) -> [UInt8] {
    guard width < stride else { return records }
    let count = records.count / stride
    // `count` whole records and fields are in bounds, and every byte of the fields is written.
    return unsafe [UInt8](unsafeUninitializedCapacity: count * width) { fields, written in
      unsafe records.withUnsafeBytes { records in
        if let first = records.baseAddress {
          unsafe pleat_copy_fields(first + offset, stride, fields.baseAddress, width, count, width)
        }
      }
      written = count * width
    }
  }

  /// Puts fields into whole records; the bytes around them stay.
  package func scatter(_ fields: [UInt8], into records: inout [UInt8]) {
    let count = records.count / stride
    precondition(fields.count == count * width, "one field for each record")
    // `count` whole records, and by the precondition as many fields, are in bounds.
    unsafe fields.withUnsafeBytes { fields in
      unsafe records.withUnsafeMutableBytes { records in
        if let first = records.baseAddress {
          unsafe pleat_copy_fields(fields.baseAddress, width, first + offset, stride, count, width)
        }
      }
    }
  }

  /// Whether two runs of records are equal but for the fields.
  package func isSameAround(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    guard left.count == right.count else { return false }
    // Both have the same whole records.
    return unsafe left.withUnsafeBytes { left in
      unsafe right.withUnsafeBytes { right in
        unsafe pleat_same_around_fields(
          left.baseAddress, right.baseAddress, left.count / stride, stride, offset, width)
      }
    }
  }
}
