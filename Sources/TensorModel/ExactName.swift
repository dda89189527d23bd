/// A name that is compared and hashed by its UTF-8 bytes.
///
/// `String` equates the composed and the decomposed form of `é`; file formats do not. The hash is
/// computed once, at initialization. A hash table therefore reads the text of a name only to
/// confirm a match.
package struct ExactName: Hashable, Sendable {
  /// The name.
  package let text: String
  private let hash: Int

  /// Creates the key and computes its hash.
  package init(_ text: String) {
    self.text = text
    var (bytes, hasher) = (text, Hasher())
    // The hasher reads the bytes during the call.
    bytes.withUTF8 { unsafe hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    hash = hasher.finalize()
  }

  package static func == (left: ExactName, right: ExactName) -> Bool {
    left.hash == right.hash && left.text.hasSameBytes(as: right.text)
  }

  package func hash(into hasher: inout Hasher) { hasher.combine(hash) }
}

extension String {
  /// Whether another text has the same UTF-8 bytes.
  ///
  /// `==` also equates the composed and the decomposed form of `é`.
  package func hasSameBytes(as other: String) -> Bool {
    // The buffers are read only during the calls. Strings without contiguous storage are compared
    // byte by byte.
    let isSame = unsafe utf8.withContiguousStorageIfAvailable { left in
      unsafe other.utf8.withContiguousStorageIfAvailable { right in
        unsafe left.count == right.count
          && UnsafeRawBufferPointer(left).equalsPrefix(of: UnsafeRawBufferPointer(right))
      }
    }
    return (isSame ?? nil) ?? utf8.elementsEqual(other.utf8)
  }
}

extension UnsafeRawBufferPointer {
  /// Whether the bytes equal the first `count` bytes of `other`, which must be at least as long.
  ///
  /// Compares eight bytes at a time.
  fileprivate func equalsPrefix(of other: UnsafeRawBufferPointer) -> Bool {
    var offset = 0
    while offset + 8 <= count {
      let left = unsafe loadUnaligned(fromByteOffset: offset, as: UInt64.self)
      let right = unsafe other.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
      guard left == right else { return false }
      offset += 8
    }
    while offset < count {
      guard unsafe self[offset] == other[offset] else { return false }
      offset += 1
    }
    return true
  }
}
