internal import TestSupport

/// Changes a number of a GGUF header (count, type, length, extent or offset), or a string and its
/// length.
struct GGUFMutation: Mutation {
  private static let numbers: [UInt64] = [
    0, 1, 2, 3, 4, 5, 8, 12, 31, 32, 33, 64, 255, 256, 1 << 31, 1 << 32, 1 << 60, 1 << 62,
    UInt64(Int64.max), .max, .max - 31,
  ]

  func mutated(_ bytes: [UInt8], limit: Int, _ random: inout MutationRandom) -> [UInt8] {
    let choice = random.below(6)
    let fields = choice == 0 ? [] : GGUFFields(bytes).fields
    guard let field = random.element(of: fields) else {
      return PlainMutation().mutated(bytes, limit: limit, &random)
    }
    var result = bytes
    if let text = field.text, choice > 2 {
      let changed = PlainMutation().mutated(
        Array(bytes[text]), limit: text.count + 32, &random)
      result.replaceSubrange(text, with: changed)
      result.replaceSubrange(
        field.range, with: Numbers.little(UInt64(changed.count)).prefix(field.range.count))
      return result
    }
    let old = bytes[field.range].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    let new =
      switch random.below(4) {
      case 0: old &+ UInt64(random.below(9)) &- 4
      case 1: UInt64(bytes.count) &- UInt64(random.below(bytes.count))
      default: random.element(of: Self.numbers) ?? 0
      }
    result.replaceSubrange(field.range, with: Numbers.little(new).prefix(field.range.count))
    return result
  }
}

/// Locates the numbers of a little-endian GGUF header, as far as it can be read.
struct GGUFFields {
  /// The location of a number, and of the string whose length it is.
  struct Field {
    var range: Range<Int>
    var text: Range<Int>?
  }

  private(set) var fields: [Field] = []
  private let bytes: [UInt8]
  private var position = 4

  /// The size of each value type in bytes; 0 for strings and arrays, whose size varies.
  private static let sizes = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8]

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    let lengthSize = number(4) == 1 ? 4 : 8
    let (tensors, entries) = (number(lengthSize), number(lengthSize))
    for _ in 0..<min(entries ?? 0, 64) {
      text(lengthSize)
      guard let type = number(4) else { return }
      value(type, lengthSize)
    }
    for _ in 0..<min(tensors ?? 0, 64) {
      text(lengthSize)
      guard let rank = number(4) else { return }
      for _ in 0..<min(rank, 8) { _ = number(lengthSize) }
      guard number(4) != nil, number(8) != nil else { return }
    }
  }

  private mutating func number(_ size: Int) -> UInt64? {
    guard bytes.count - position >= size else { return nil }
    let range = position..<position + size
    position += size
    fields.append(Field(range: range))
    return bytes[range].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
  }

  private mutating func text(_ lengthSize: Int) {
    guard let count = number(lengthSize), count <= UInt64(bytes.count - position) else {
      position = bytes.count
      return
    }
    fields[fields.count - 1].text = position..<position + Int(count)
    position += Int(count)
  }

  private mutating func value(_ type: UInt64, _ lengthSize: Int) {
    switch type {
    case 8: text(lengthSize)
    case 9:
      guard let element = number(4), let count = number(lengthSize) else { return }
      for _ in 0..<min(count, 256) where element != 9 { value(element, lengthSize) }
    case 0..<13: _ = number(Self.sizes[Int(type)])
    default: position = bytes.count
    }
  }
}
