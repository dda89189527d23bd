/// The indices of stored tensors that belong together, in the order of the parts.
///
/// They are nearly always adjacent, which takes no memory of its own.
package struct StoredIndices: Sendable, Hashable, RandomAccessCollection,
  ExpressibleByArrayLiteral
{
  private var indices: Values

  private enum Values: Sendable, Hashable {
    case adjacent(first: Int32, count: Int32)
    case scattered([Int])
  }

  /// Creates indices; two with the same elements are equal.
  package init(_ indices: some RandomAccessCollection<Int>) {
    let first = indices.first ?? 0
    let adjacent = first..<first + indices.count
    self =
      indices.elementsEqual(adjacent)
      ? StoredIndices(adjacent) : StoredIndices(scattered: Array(indices))
  }

  /// Creates adjacent indices.
  package init(_ indices: Range<Int>) {
    let first = indices.isEmpty ? 0 : indices.lowerBound
    if let first = Int32(exactly: first), let count = Int32(exactly: indices.count) {
      self.indices = .adjacent(first: first, count: count)
    } else {
      self.indices = .scattered(Array(indices))
    }
  }

  private init(scattered indices: [Int]) { self.indices = .scattered(indices) }

  package init(arrayLiteral indices: Int...) { self.init(indices) }

  /// The indices of the same tensors at other places; `places` has the new index of each one.
  package func moved(to places: [Int]) -> StoredIndices {
    // Most targets are one tensor.
    guard count == 1 else { return StoredIndices(map { places[$0] }) }
    let place = places[self[0]]
    return StoredIndices(place..<place + 1)
  }

  /// Appends an index.
  mutating func append(_ index: Int) { self = StoredIndices(self + [index]) }

  package var startIndex: Int { 0 }

  package var endIndex: Int {
    switch indices {
    case .adjacent(_, let count): Int(count)
    case .scattered(let indices): indices.count
    }
  }

  package subscript(part: Int) -> Int {
    switch indices {
    case .adjacent(let first, let count):
      precondition(0..<Int(count) ~= part, "no such part")
      return Int(first) + part
    case .scattered(let indices): return indices[part]
    }
  }
}
