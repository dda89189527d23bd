/// A list of many short texts in contiguous memory.
package struct TextList: Sendable {
  private var bytes: [UInt8] = []
  private var ends: [Int] = []

  /// Creates an empty list.
  package init() {}

  /// The number of texts.
  package var count: Int { ends.count }

  /// The text at an index.
  package subscript(index: Int) -> ArraySlice<UInt8> {
    bytes[(index == 0 ? 0 : ends[index - 1])..<ends[index]]
  }

  /// Appends a text.
  package mutating func append(_ text: some Collection<UInt8>) {
    bytes.append(contentsOf: text)
    ends.append(bytes.count)
  }
}

/// A list of different texts that are found by their bytes.
///
/// Strings cannot be keys: `==` equates the composed and the decomposed form of é.
package struct TextIndex: Sendable {
  private var texts = TextList()
  private var slots = [Int32](repeating: -1, count: 1024)  // the index of a text, or -1

  /// Creates an empty list.
  package init() {}

  /// The number of texts.
  package var count: Int { texts.count }

  /// The text at an index, in the order of insertion.
  package subscript(index: Int) -> ArraySlice<UInt8> { texts[index] }

  /// The index of a text; nil if it is not in the list.
  package func index(of text: ArraySlice<UInt8>) -> Int? {
    let index = slots[slot(of: text)]
    return index < 0 ? nil : Int(index)
  }

  /// Adds a text unless it is in the list; returns whether it was added, and its index.
  @discardableResult
  package mutating func insert(_ text: ArraySlice<UInt8>) -> (inserted: Bool, index: Int) {
    if texts.count * 2 >= slots.count { grow() }
    let slot = slot(of: text)
    guard slots[slot] < 0 else { return (false, Int(slots[slot])) }
    slots[slot] = Int32(texts.count)
    texts.append(text)
    return (true, texts.count - 1)
  }

  /// The slot of a text, or the free slot that it would take.
  private func slot(of text: ArraySlice<UInt8>) -> Int {
    var hasher = Hasher()
    // The hasher reads the bytes during the call.
    unsafe text.withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
    let mask = slots.count - 1
    var slot = hasher.finalize() & mask
    while slots[slot] >= 0, texts[Int(slots[slot])] != text { slot = (slot + 1) & mask }
    return slot
  }

  private mutating func grow() {
    slots = Array(repeating: -1, count: slots.count * 2)
    for index in 0..<texts.count { slots[slot(of: texts[index])] = Int32(index) }
  }
}
