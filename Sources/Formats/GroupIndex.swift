/// The group index of a weight: the number of the group of each column.
enum GroupIndex {
  /// The numbers in little-endian words of a type, 32 bits by default.
  static func numbers<Word: FixedWidthInteger & BitwiseCopyable>(
    _ bytes: [UInt8], as type: Word.Type = Int32.self
  ) -> [Int] {
    // Every bit pattern is a valid integer, and each load checks its bounds.
    let source = unsafe bytes.span.bytes
    let size = MemoryLayout<Word>.size
    return (0..<bytes.count / size).map {
      unsafe Int(source.unsafeLoadUnaligned(fromByteOffset: size * $0, as: type))
    }
  }

  /// Whether the groups are consecutive runs of columns, so that no index is needed.
  ///
  /// An index that contains −1 was never filled in, and counts as trivial.
  static func isTrivial(_ numbers: [Int], groupSize: Int) -> Bool {
    numbers.contains(-1) || numbers.enumerated().allSatisfy { $0.offset / groupSize == $0.element }
  }
}
