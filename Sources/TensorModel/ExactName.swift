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
    left.hash == right.hash && left.text.utf8.elementsEqual(right.text.utf8)
  }

  package func hash(into hasher: inout Hasher) { hasher.combine(hash) }
}
