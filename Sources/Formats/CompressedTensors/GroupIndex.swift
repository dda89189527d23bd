/// For each column of a weight the number of its group.
enum GroupIndex {
  /// The numbers of groups in 32-bit words.
  static func numbers(_ bytes: [UInt8]) -> [Int] {
    // Any bits are a number; loads are checked to be in bounds.
    let source = unsafe bytes.span.bytes
    return (0..<bytes.count / 4).map {
      unsafe Int(source.unsafeLoadUnaligned(fromByteOffset: 4 * $0, as: Int32.self))
    }
  }

  /// Whether columns of a group are neighbours, in the order of groups: then no index is needed.
  ///
  /// A −1 stands for an index that was never made.
  static func isTrivial(_ numbers: [Int], groupSize: Int) -> Bool {
    numbers.contains(-1) || numbers.enumerated().allSatisfy { $0.offset / groupSize == $0.element }
  }
}
