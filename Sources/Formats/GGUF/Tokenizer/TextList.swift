/// Many short texts, one after another in memory.
struct TextList {
  private var bytes: [UInt8] = []
  private var ends: [Int] = []

  /// The number of texts.
  var count: Int { ends.count }

  /// A text by its place in the list.
  subscript(index: Int) -> ArraySlice<UInt8> {
    bytes[(index == 0 ? 0 : ends[index - 1])..<ends[index]]
  }

  /// Adds a text.
  mutating func append(_ text: some Collection<UInt8>) {
    bytes.append(contentsOf: text)
    ends.append(bytes.count)
  }
}

/// Texts that differ, each found again by its bytes.
///
/// Strings would not do as keys: they are equal when their letters are, and é has two spellings.
struct TextIndex {
  private var texts = TextList()
  private var slots = [Int32](repeating: -1, count: 1024)  // the place of a text, or -1

  /// The number of texts.
  var count: Int { texts.count }

  /// A text by its place, in the order in which they were added.
  subscript(index: Int) -> ArraySlice<UInt8> { texts[index] }

  /// The place of a text; nil when it is not there.
  func index(of text: ArraySlice<UInt8>) -> Int? {
    let place = slots[slot(of: text)]
    return place < 0 ? nil : Int(place)
  }

  /// Adds a text, unless it is there already; says which, and its place.
  @discardableResult
  mutating func insert(_ text: ArraySlice<UInt8>) -> (inserted: Bool, index: Int) {
    if texts.count * 2 >= slots.count { grow() }
    let slot = slot(of: text)
    guard slots[slot] < 0 else { return (false, Int(slots[slot])) }
    slots[slot] = Int32(texts.count)
    texts.append(text)
    return (true, texts.count - 1)
  }

  /// Where a text is, or would be.
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
