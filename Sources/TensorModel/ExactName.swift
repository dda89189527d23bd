/// A name as a key: equal when its bytes are, unlike strings, which also equate spellings of `é`.
///
/// The hash of the bytes is computed once, so that a table that grows, or is searched, looks at the
/// text of a name only where it has found it.
package struct ExactName: Hashable, Sendable {
  /// The name.
  package let text: String
  private let hash: Int

  /// The key of a name.
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
  /// Whether another text has the same bytes, unlike `==`, which also equates spellings of `é`.
  package func hasSameBytes(as other: String) -> Bool {
    // The strings' own bytes, read during the calls; without storage of that kind they are iterated.
    let isSame = unsafe utf8.withContiguousStorageIfAvailable { left in
      unsafe other.utf8.withContiguousStorageIfAvailable { right in
        unsafe left.count == right.count
          && UnsafeRawBufferPointer(left).startsLike(UnsafeRawBufferPointer(right))
      }
    }
    return (isSame ?? nil) ?? utf8.elementsEqual(other.utf8)
  }
}

extension UnsafeRawBufferPointer {
  /// Whether as many bytes of another buffer, which has them, are the same; eight are compared at once.
  fileprivate func startsLike(_ other: UnsafeRawBufferPointer) -> Bool {
    var place = 0
    while place + 8 <= count {
      let left = unsafe loadUnaligned(fromByteOffset: place, as: UInt64.self)
      let right = unsafe other.loadUnaligned(fromByteOffset: place, as: UInt64.self)
      guard left == right else { return false }
      place += 8
    }
    while place < count {
      guard unsafe self[place] == other[place] else { return false }
      place += 1
    }
    return true
  }
}
