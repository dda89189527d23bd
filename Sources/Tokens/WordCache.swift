/// The ids of short words that occurred before, so that frequent words are merged once.
///
/// Each slot holds the last word with its hash. When the ids take too much memory, it begins anew.
struct WordCache {
  /// Up to 31 bytes of a word, and its length in the last byte.
  private struct Key: Equatable {
    var parts: (UInt64, UInt64, UInt64, UInt64)

    @inline(__always)
    static func == (left: Key, right: Key) -> Bool {
      left.parts.0 == right.parts.0 && left.parts.1 == right.parts.1
        && left.parts.2 == right.parts.2 && left.parts.3 == right.parts.3
    }
  }

  private var keys: [Key]
  private var places: [(start: Int32, count: Int32)]
  private var ids: [Int32] = []
  private let mask: Int

  private static let lengthLimit = 31
  private static let slotLimit = 1 << 14
  private static let idLimit = 1 << 20
  private static let free = Key(parts: (0, 0, 0, 0))

  /// Creates a cache for a text of a length in bytes.
  init(byteCount: Int) {
    var size = 64
    while size < Self.slotLimit, size < byteCount / 8 { size *= 2 }
    keys = Array(repeating: Self.free, count: size)
    places = Array(repeating: (0, 0), count: size)
    mask = size - 1
  }

  /// Appends the ids of a word to `result`, and computes them with `compute` if they are not known.
  @inline(__always)
  mutating func append(
    _ text: [UInt8], _ range: Range<Int>, to result: inout [Int32],
    computing compute: (inout [Int32]) -> Void
  ) {
    guard range.count <= Self.lengthLimit else { return compute(&result) }
    let key = Self.key(text, range)
    let slot = slot(of: key)
    if keys[slot] == key {
      let place = places[slot]
      for index in Int(place.start)..<Int(place.start + place.count) { result.append(ids[index]) }
      return
    }
    let start = result.count
    compute(&result)
    if ids.count > Self.idLimit {
      ids.removeAll(keepingCapacity: true)
      for index in keys.indices { keys[index] = Self.free }
    }
    keys[slot] = key
    places[slot] = (Int32(ids.count), Int32(result.count - start))
    ids += result[start...]
  }

  @inline(__always)
  private static func key(_ text: [UInt8], _ range: Range<Int>) -> Key {
    func part(_ start: Int) -> UInt64 {
      var value: UInt64 = 0
      var index = min(start + 8, range.upperBound)
      while index > start {
        index -= 1
        value = value << 8 | UInt64(text[index])
      }
      return value
    }
    let start = range.lowerBound
    var key = Key(parts: (part(start), 0, 0, 0))
    if range.count > 8 { key.parts.1 = part(start + 8) }
    if range.count > 16 { key.parts.2 = part(start + 16) }
    if range.count > 24 { key.parts.3 = part(start + 24) }
    key.parts.3 |= UInt64(range.count) << 56
    return key
  }

  @inline(__always)
  private func slot(of key: Key) -> Int {
    var hash = key.parts.0 &* 0x9E37_79B9_7F4A_7C15
    hash = (hash ^ key.parts.1) &* 0xC2B2_AE3D_27D4_EB4F
    hash = (hash ^ key.parts.2) &* 0x1656_67B1_9E37_79F9
    hash = (hash ^ key.parts.3) &* 0x9E37_79B9_7F4A_7C15
    return Int(truncatingIfNeeded: hash >> 40) & mask
  }
}
