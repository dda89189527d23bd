/// Applies merges to the symbols of one word: always the one of lowest rank, the leftmost of several.
///
/// Takes time in proportion to n log n for n symbols, because a word may be a whole text. The memory
/// is used again for the next word.
struct WordMerger {
  /// The ids of the symbols; those that were joined to the one before them are negative.
  private var ids: [Int32] = []
  private var next: [Int] = []
  private var previous: [Int] = []
  private var heap: [Candidate] = []

  private static let joined: Int32 = -1

  /// A merge that may be applied: the place of its left symbol, its rank and what it makes.
  private struct Candidate {
    let rank: UInt32
    let id: Int32
    let position: Int

    @inline(__always)
    func precedes(_ other: Candidate) -> Bool {
      rank != other.rank ? rank < other.rank : position < other.position
    }
  }

  /// Begins a word without symbols.
  mutating func begin() { ids.removeAll(keepingCapacity: true) }

  /// Appends a symbol to the word.
  mutating func append(_ id: Int32) { ids.append(id) }

  /// Merges the symbols, and appends the ids that are left to `result`.
  mutating func finish(_ merges: MergeTable, into result: inout [Int32]) {
    guard ids.count > 1 else {
      result += ids
      return
    }
    next.removeAll(keepingCapacity: true)
    previous.removeAll(keepingCapacity: true)
    heap.removeAll(keepingCapacity: true)
    for index in ids.indices {
      next.append(index + 1)
      previous.append(index - 1)
    }
    for index in 0..<ids.count - 1 { consider(index, merges) }
    while let best = pop() {
      let right = ids[best.position] == Self.joined ? ids.count : next[best.position]
      // Symbols may have changed since.
      guard right < ids.count,
        let merge = merges.merge(ids[best.position], ids[right]), merge.id == best.id
      else { continue }
      ids[best.position] = merge.id
      ids[right] = Self.joined
      let following = next[right]
      next[best.position] = following
      if following < ids.count { previous[following] = best.position }
      if previous[best.position] >= 0 { consider(previous[best.position], merges) }
      if following < ids.count { consider(best.position, merges) }
    }
    var index = 0
    while index < ids.count {
      result.append(ids[index])
      index = next[index]
    }
  }

  /// Adds the merge of a symbol with the next one, if there is one.
  @inline(__always)
  private mutating func consider(_ position: Int, _ merges: MergeTable) {
    guard let merge = merges.merge(ids[position], ids[next[position]]) else { return }
    push(Candidate(rank: merge.rank, id: merge.id, position: position))
  }

  // MARK: - Heap

  private mutating func push(_ candidate: Candidate) {
    heap.append(candidate)
    var index = heap.count - 1
    while index > 0 {
      let parent = (index - 1) / 2
      guard candidate.precedes(heap[parent]) else { break }
      heap[index] = heap[parent]
      index = parent
    }
    heap[index] = candidate
  }

  private mutating func pop() -> Candidate? {
    guard let best = heap.first else { return nil }
    let last = heap.removeLast()
    guard !heap.isEmpty else { return best }
    var index = 0
    while true {
      var child = 2 * index + 1
      guard child < heap.count else { break }
      if child + 1 < heap.count, heap[child + 1].precedes(heap[child]) { child += 1 }
      guard heap[child].precedes(last) else { break }
      heap[index] = heap[child]
      index = child
    }
    heap[index] = last
    return best
  }
}
