/// The stored tensors of an output, in their order.
///
/// A plan may have 400,000 of them, which are parts of 100,000 weights of few kinds: they are made
/// when they are asked for.
package struct StoredTensors: Sendable, RandomAccessCollection, ExpressibleByArrayLiteral {
  private var weights: [Weight] = []
  private var owners: [Int32] = []  // of each tensor: the index of its weight
  private var kinds: [[StoredTensor]] = []

  /// A weight, or another tensor that is its only part.
  private struct Weight: Sendable {
    var name: String
    var kind: Int32  // the index of its parts, as those of any weight of the kind
    var first: Int32  // the index of its first part
  }

  /// At least the number of different kinds in a layer.
  private static let recentKindCount = 48

  /// Creates a list of tensors.
  package init(_ tensors: some Sequence<StoredTensor>) {
    for tensor in tensors { append(tensor) }
  }

  package init(arrayLiteral tensors: StoredTensor...) { self.init(tensors) }

  /// Makes room for some weights, and for some tensors in all.
  package mutating func reserveCapacity(weights: Int, tensors: Int) {
    self.weights.reserveCapacity(weights)
    owners.reserveCapacity(tensors)
  }

  /// Appends a tensor.
  package mutating func append(_ tensor: StoredTensor) { append([tensor], of: tensor.weight) }

  /// Appends the parts of a weight, which are those of any weight of the kind.
  package mutating func append(_ parts: [StoredTensor], of weight: String) {
    let recent = kinds.indices.suffix(Self.recentKindCount)
    let known = recent.last { kind in
      kinds[kind].count == parts.count && zip(kinds[kind], parts).allSatisfy { $0.hasForm(of: $1) }
    }
    if known == nil { kinds.append(parts) }
    let kind = known ?? kinds.count - 1
    owners.append(contentsOf: repeatElement(Int32(weights.count), count: parts.count))
    weights.append(
      Weight(name: weight, kind: Int32(kind), first: Int32(owners.count - parts.count)))
  }

  /// The same tensors in another order, which lists the index of each one.
  package func ordered(by order: [Int]) -> StoredTensors {
    StoredTensors(order.lazy.map { self[$0] })
  }

  package var startIndex: Int { 0 }

  package var endIndex: Int { owners.count }

  package subscript(index: Int) -> StoredTensor {
    let weight = weights[Int(owners[index])]
    return kinds[Int(weight.kind)][index - Int(weight.first)].part(of: weight.name)
  }
}

extension StoredTensors {
  /// The indices of some adjacent tensors, by the bytes of their names.
  package func sortedByName(_ members: Range<Int>) -> [Int32] {
    guard let first = members.first, let last = members.last else { return [] }
    let parts = kinds.map { kind in
      kind.indices.sorted { kind[$0].isNamed(before: kind[$1]) }
    }
    let sorted = (owners[first]...owners[last]).sorted { left, right in
      let (left, right) = (weights[Int(left)].name, weights[Int(right)].name)
      let (count, otherCount) = (left.utf8.count, right.utf8.count)
      return left.precedes(right, in: Swift.min(count, otherCount)) ?? (count < otherCount)
    }
    var indices: [Int32] = []
    indices.reserveCapacity(members.count)
    for weight in sorted {
      let weight = weights[Int(weight)]
      for part in parts[Int(weight.kind)] where members.contains(Int(weight.first) + part) {
        indices.append(weight.first + Int32(part))
      }
    }
    if !areApart(sorted) {
      indices.sort { self[Int($0)].isNamed(before: self[Int($1)]) }
    }
    return indices
  }

  /// Whether parts of weights, which are in the order of their names, are in the order of theirs.
  ///
  /// They may not be if the name of one layer begins with that of another. Then it does so with that
  /// of a neighbour, too.
  private func areApart(_ sorted: [Int32]) -> Bool {
    let endings = kinds.map { kind in kind.lazy.map(\.replacedByteCount).max() ?? 0 }
    func stem(_ weight: Weight) -> Int {
      Swift.max(0, weight.name.utf8.count - endings[Int(weight.kind)])
    }
    return zip(sorted, sorted.dropFirst()).allSatisfy { left, right in
      let (left, right) = (weights[Int(left)], weights[Int(right)])
      return left.name.precedes(right.name, in: Swift.min(stem(left), stem(right))) != nil
    }
  }
}
