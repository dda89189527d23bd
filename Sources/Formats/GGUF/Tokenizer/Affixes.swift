/// Which texts of an index others begin with, or end with.
///
/// Found by sorting, in time that grows with the bytes of all texts, however long one of them is.
struct Affixes {
  private let lengths: [Int32]
  // By place, the longest of the shorter texts that one begins or ends with, or -1.
  private var next: [Int32]

  /// Compares texts from their first byte on, or from the last one backwards.
  init(_ texts: TextIndex, atEnd: Bool) {
    var list = TextList()
    for index in 0..<texts.count {
      if atEnd { list.append(texts[index].reversed()) } else { list.append(texts[index]) }
    }
    lengths = (0..<list.count).map { Int32(list[$0].count) }
    next = Array(repeating: -1, count: list.count)
    // A text comes before all that it begins; those that begin the last one are open.
    var open: [Int] = []
    for index in (0..<list.count).sorted(by: { list[$0].lexicographicallyPrecedes(list[$1]) }) {
      while let last = open.last, !list[index].starts(with: list[last]) { open.removeLast() }
      if let last = open.last { next[index] = Int32(last) }
      open.append(index)
    }
  }

  /// The lengths of the shorter texts that a text begins or ends with, the longest first.
  func lengths(_ index: Int) -> [Int] {
    var found: [Int] = []
    var place = Int(next[index])
    while place >= 0 {
      found.append(Int(lengths[place]))
      place = Int(next[place])
    }
    return found
  }
}
