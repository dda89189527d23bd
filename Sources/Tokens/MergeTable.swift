/// The merges of a tokenizer: for two neighbors the rank of their merge and the id that it makes.
///
/// It is a hash table in contiguous memory, since every word asks for several pairs.
struct MergeTable: Sendable {
  private var keys: [UInt64]
  private var values: [UInt64]  // the rank in the upper half, the id in the lower one
  private let mask: Int

  private static let free = UInt64.max

  /// Creates a table with room for a number of merges.
  init(count: Int) {
    var size = 16
    while size < count * 2 { size *= 2 }
    keys = Array(repeating: Self.free, count: size)
    values = Array(repeating: 0, count: size)
    mask = size - 1
  }

  /// Sets the merge of two ids; of several for the same pair the last one counts.
  mutating func set(_ left: Int32, _ right: Int32, rank: Int, id: Int32) {
    let slot = slot(Self.key(left, right))
    keys[slot] = Self.key(left, right)
    values[slot] = UInt64(rank) << 32 | UInt64(UInt32(bitPattern: id))
  }

  /// The rank of the merge of two ids; nil if they are not merged.
  @inline(__always)
  func merge(_ left: Int32, _ right: Int32) -> (rank: UInt32, id: Int32)? {
    let key = Self.key(left, right)
    let slot = slot(key)
    guard keys[slot] == key else { return nil }
    let value = values[slot]
    return (UInt32(value >> 32), Int32(bitPattern: UInt32(truncatingIfNeeded: value)))
  }

  @inline(__always)
  private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  @inline(__always)
  private func slot(_ key: UInt64) -> Int {
    // A multiplicative hash: the upper bits depend on all bits of the key.
    var slot = Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 32) & mask
    while keys[slot] != key, keys[slot] != Self.free { slot = (slot + 1) & mask }
    return slot
  }
}
