/// Combinations of values for the arguments of tests.
package enum Every {
  /// All pairs; the second value changes fastest.
  package static func pair<A, B>(
    of first: some Sequence<A>, _ second: some Sequence<B>
  ) -> [(A, B)] {
    first.flatMap { a in second.map { (a, $0) } }
  }

  /// All triples; the last value changes fastest.
  package static func triple<A, B, C>(
    of first: some Sequence<A>, _ second: some Sequence<B>, _ third: some Sequence<C>
  ) -> [(A, B, C)] {
    first.flatMap { a in pair(of: second, third).map { (a, $0.0, $0.1) } }
  }

  /// Cuts the range 0..<count into pieces of `length`; the last piece may be shorter.
  package static func pieces(of count: Int, _ length: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: length).map { $0..<Swift.min(count, $0 + length) }
  }
}
