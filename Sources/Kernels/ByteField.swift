internal import CKernels

/// A byte field in records of equal length that follow one another.
package struct ByteField: Sendable, Hashable {
  /// The offset of the field in a record, in bytes.
  package let offset: Int
  /// The width of the field in bytes.
  package let width: Int
  /// The length of a record in bytes.
  package let stride: Int

  package init(offset: Int, width: Int, stride: Int) {
    precondition(offset >= 0 && width > 0 && offset + width <= stride, "the field exceeds a record")
    self.offset = offset
    self.width = width
    self.stride = stride
  }

  /// The fields of whole records, one after another.
  package func gather(_ records: [UInt8]) -> [UInt8] {
    guard width < stride else { return records }
    let count = records.count / stride
    // In bounds: `count` whole records and fields. Every byte of the fields is written.
    return unsafe [UInt8](unsafeUninitializedCapacity: count * width) { fields, written in
      unsafe records.withUnsafeBytes { records in
        if let first = records.baseAddress {
          unsafe pleat_copy_fields(first + offset, stride, fields.baseAddress, width, count, width)
        }
      }
      written = count * width
    }
  }

  /// Writes fields into whole records, and leaves the bytes around them unchanged.
  package func scatter(_ fields: [UInt8], into records: inout [UInt8]) {
    let count = records.count / stride
    precondition(fields.count == count * width, "expected one field per record")
    // In bounds: `count` whole records, and as many fields by the precondition.
    unsafe fields.withUnsafeBytes { fields in
      unsafe records.withUnsafeMutableBytes { records in
        if let first = records.baseAddress {
          unsafe pleat_copy_fields(fields.baseAddress, width, first + offset, stride, count, width)
        }
      }
    }
  }

  /// Whether two arrays of records are equal outside the field.
  package func isSameAround(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    guard left.count == right.count else { return false }
    // In bounds: both arrays have the same number of whole records.
    return unsafe left.withUnsafeBytes { left in
      unsafe right.withUnsafeBytes { right in
        unsafe pleat_same_around_fields(
          left.baseAddress, right.baseAddress, left.count / stride, stride, offset, width)
      }
    }
  }
}
