/// A name as a key: equal when its bytes are, unlike strings, which also equate spellings of `é`.
package struct ExactName: Hashable, Sendable {
  /// The name.
  package let text: String

  /// The key of a name.
  package init(_ text: String) { self.text = text }

  package static func == (left: ExactName, right: ExactName) -> Bool {
    left.text.utf8.elementsEqual(right.text.utf8)
  }

  package func hash(into hasher: inout Hasher) {
    var text = text
    text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
  }
}
