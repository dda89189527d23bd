internal import TensorModel

/// Names in one buffer, which takes half the memory of as many strings.
struct NameList: Sendable {
  private var bytes: [UInt8] = []
  private var ends: [Int] = []
  private var hashes: Set<Int> = []

  /// The number of names.
  var count: Int { ends.count }

  /// The name at an index.
  subscript(index: Int) -> String { String(decoding: bytes[range(of: index)], as: UTF8.self) }

  /// Whether the name at an index has the same bytes as another.
  func has(_ name: String, at index: Int) -> Bool {
    bytes[range(of: index)].elementsEqual(name.utf8)
  }

  /// Appends a name, unless the list has it.
  ///
  /// - Returns: Whether it is new.
  mutating func append(_ name: String) -> Bool {
    let isKnown = !hashes.insert(ExactName(name).hashValue).inserted
    if isKnown, ends.indices.contains(where: { bytes[range(of: $0)].elementsEqual(name.utf8) }) {
      return false
    }
    bytes.append(contentsOf: name.utf8)
    ends.append(bytes.count)
    return true
  }

  private func range(of index: Int) -> Range<Int> {
    (index == 0 ? 0 : ends[index - 1])..<ends[index]
  }
}
