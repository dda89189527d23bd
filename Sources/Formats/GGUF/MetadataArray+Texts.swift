package import TensorModel

extension MetadataArray {
  /// The text at an index, in an array of texts; nil for other arrays and indices.
  package func text(at index: Int) -> String? {
    var found: String?
    forEachText { if $0 == index { found = String(decoding: $1, as: UTF8.self) } }
    return found
  }

  /// All texts of an array of texts; none for other arrays.
  package var texts: [String] {
    var texts: [String] = []
    forEachText { texts.append(String(decoding: $1, as: UTF8.self)) }
    return texts
  }

  /// The indices of a text, in an array of texts; none for other arrays.
  package func indices(of text: String) -> [Int] {
    var indices: [Int] = []
    let wanted = Array(text.utf8)[...]
    forEachText { if $1 == wanted { indices.append($0) } }
    return indices
  }

  private func forEachText(_ body: (Int, ArraySlice<UInt8>) -> Void) {
    guard elementType == .string else { return }
    var start = 0
    for index in 0..<count {
      guard start + 8 <= bytes.count else { return }
      let length = bytes[start..<start + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      guard length <= UInt64(bytes.count - start - 8) else { return }
      let end = start + 8 + Int(length)
      body(index, bytes[start + 8..<end])
      start = end
    }
  }
}
