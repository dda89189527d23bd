/// Combinations of choices for the arguments of a test.
package enum Every {
  /// All pairs, the second choice changing first.
  package static func pair<A, B>(
    of first: some Sequence<A>, _ second: some Sequence<B>
  ) -> [(A, B)] {
    first.flatMap { a in second.map { (a, $0) } }
  }

  /// All triples, the last choice changing first.
  package static func triple<A, B, C>(
    of first: some Sequence<A>, _ second: some Sequence<B>, _ third: some Sequence<C>
  ) -> [(A, B, C)] {
    first.flatMap { a in pair(of: second, third).map { (a, $0.0, $0.1) } }
  }

  /// Cuts of `count` things into pieces of at most each of some lengths.
  package static func pieces(of count: Int, _ length: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: length).map { $0..<Swift.min(count, $0 + length) }
  }
}
