/// The group index of a weight: the number of the group of each column.
enum GroupIndex {
  /// The group numbers in little-endian 32-bit words.
  static func numbers(_ bytes: [UInt8]) -> [Int] {
    // Every bit pattern is a valid integer, and each load checks its bounds.
    let source = unsafe bytes.span.bytes
    return (0..<bytes.count / 4).map {
      unsafe Int(source.unsafeLoadUnaligned(fromByteOffset: 4 * $0, as: Int32.self))
    }
  }

  /// Whether the groups are consecutive runs of columns, so that no index is needed.
  ///
  /// An index that contains −1 was never filled in, and counts as trivial.
  static func isTrivial(_ numbers: [Int], groupSize: Int) -> Bool {
    numbers.contains(-1) || numbers.enumerated().allSatisfy { $0.offset / groupSize == $0.element }
  }
}
