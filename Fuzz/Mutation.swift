/// A way to change bytes that keeps more of their structure than random changes.
protocol Mutation {
  /// Changed bytes; a result of more than `limit` bytes is not used.
  func mutated(_ bytes: [UInt8], limit: Int, _ random: inout MutationRandom) -> [UInt8]
}

// A function of libFuzzer. Its Swift signature matches the C signature.
@_silgen_name("LLVMFuzzerMutate")
private func libFuzzerMutate(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ limit: Int)
  -> Int

/// The random choices of one mutation.
struct MutationRandom {
  private var state: UInt64

  init(seed: UInt32) { state = UInt64(seed) &* 0x9e37_79b9_7f4a_7c15 | 1 }

  /// A random number below `bound`; 0 if `bound` is not positive.
  mutating func below(_ bound: Int) -> Int {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return bound > 0 ? Int(state >> 1) % bound : 0
  }

  /// A random element; nil if there are none.
  mutating func element<T>(of elements: [T]) -> T? {
    elements.isEmpty ? nil : elements[below(elements.count)]
  }
}

/// The mutations of libFuzzer, which use its dictionary and the operands of past comparisons.
struct PlainMutation: Mutation {
  func mutated(_ bytes: [UInt8], limit: Int, _ random: inout MutationRandom) -> [UInt8] {
    guard limit > 0 else { return bytes }
    var buffer = Array(bytes.prefix(limit))
    let count = buffer.count
    buffer += [UInt8](repeating: 0, count: limit - count)
    let newCount = libFuzzerMutate(&buffer, count, limit)
    return Array(buffer.prefix(newCount))
  }
}

/// Replaces numbers and strings of JSON text by edge cases or by one another.
struct TextMutation: Mutation {
  private static let numbers = [
    "0", "1", "2", "3", "4", "8", "32", "64", "255", "256", "4294967295", "4294967296",
    "2147483648", "9223372036854775807", "9223372036854775808", "18446744073709551616", "-1",
    "-9223372036854775808", "0.5", "1e3", "1e308", "1e999", "-0", "null", "true", "false", "[]",
    "{}", "\"\"", "[[[[]]]]",
  ]

  func mutated(_ bytes: [UInt8], limit: Int, _ random: inout MutationRandom) -> [UInt8] {
    let choice = random.below(4)
    guard choice > 0 else { return PlainMutation().mutated(bytes, limit: limit, &random) }
    let pieces = choice == 1 ? Self.words(bytes) : Self.strings(bytes)
    guard let piece = random.element(of: pieces) else {
      return PlainMutation().mutated(bytes, limit: limit, &random)
    }
    var result = bytes
    switch (choice, random.below(3)) {
    case (1, _):
      let number = random.element(of: Self.numbers) ?? "0"
      result.replaceSubrange(piece, with: number.utf8)
    case (_, 0):
      let other = random.element(of: pieces) ?? piece
      result.replaceSubrange(piece, with: bytes[other])
    case (_, 1):
      let text = Array(bytes[piece])
      result.replaceSubrange(
        piece, with: PlainMutation().mutated(text, limit: text.count + 16, &random))
    default:
      // Repeat a member or an element, up to the next comma.
      let rest = bytes[piece.lowerBound...].prefix { $0 != UInt8(ascii: ",") }
      result.insert(contentsOf: rest + [UInt8(ascii: ",")], at: piece.lowerBound)
    }
    return result
  }

  /// The ranges of numbers, `true`, `false` and `null`.
  private static func words(_ bytes: [UInt8]) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    var start: Int?
    for (index, byte) in (bytes + [0x20]).enumerated() {
      let isPart = "0123456789+-.eEtrufalsn".utf8.contains(byte)
      if isPart, start == nil { start = index }
      if !isPart, let begin = start {
        ranges.append(begin..<index)
        start = nil
      }
    }
    return ranges
  }

  /// The ranges of strings, including their quotation marks.
  private static func strings(_ bytes: [UInt8]) -> [Range<Int>] {
    let marks = bytes.indices.filter { bytes[$0] == UInt8(ascii: "\"") }
    return stride(from: 0, to: marks.count - 1, by: 2).map { marks[$0]..<marks[$0 + 1] + 1 }
  }
}
