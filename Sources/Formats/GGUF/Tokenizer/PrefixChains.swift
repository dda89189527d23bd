/// For each text of an index, the other texts of the index that are its prefixes, or its suffixes.
///
/// They are found by sorting. The time grows with the length of all texts together, even if a single
/// text is very long.
struct PrefixChains {
  private let lengths: [Int32]
  // For each text the index of the longest other text that is its prefix (or suffix), or -1.
  private var next: [Int32]

  /// Finds the prefixes of all texts, or their suffixes if `atEnd` is true.
  init(_ texts: TextIndex, atEnd: Bool) {
    var list = TextList()
    for index in 0..<texts.count {
      if atEnd { list.append(texts[index].reversed()) } else { list.append(texts[index]) }
    }
    lengths = (0..<list.count).map { Int32(list[$0].count) }
    next = Array(repeating: -1, count: list.count)
    // In this order a text precedes all texts that it is a prefix of. `open` contains the prefixes
    // of the last text, and that text.
    var open: [Int] = []
    for index in (0..<list.count).sorted(by: { list[$0].lexicographicallyPrecedes(list[$1]) }) {
      while let last = open.last, !list[index].starts(with: list[last]) { open.removeLast() }
      if let last = open.last { next[index] = Int32(last) }
      open.append(index)
    }
  }

  /// The lengths of the prefixes (or suffixes) of a text, the longest first.
  func lengths(_ index: Int) -> [Int] {
    var found: [Int] = []
    var current = Int(next[index])
    while current >= 0 {
      found.append(Int(lengths[current]))
      current = Int(next[current])
    }
    return found
  }
}
