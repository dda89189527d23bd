internal import TensorModel

/// A regular expression for module paths, as in PEFT's `rank_pattern`.
///
/// Matching tracks all positions where a part may end at the same time. It does not backtrack: a
/// pattern from an untrusted file could then take exponential time.
struct PathPattern: Sendable {
  fileprivate indirect enum Part: Sendable {
    case letter([ClosedRange<UInt32>], isExcluded: Bool)
    case start
    case end
    case sequence([Part])
    case choice([Part])
    case repetition(Part, least: Int, most: Int)
  }

  private let part: Part

  /// Parses an expression in Python's syntax.
  ///
  /// Throws `malformed`, `limit` if it is too long, and `unsupported` for syntax such as
  /// lookarounds and back references.
  init(_ text: String) throws(ModelError) {
    var parser = Parser(letters: Array(text.unicodeScalars.map(\.value)))
    part = try parser.whole()
  }

  /// Whether the expression matches a whole path, or all of it after one of its dots.
  func matches(_ path: String) -> Bool {
    let letters = path.unicodeScalars.map(\.value)
    var starts = Positions(repeating: false, count: letters.count + 1)
    starts[0] = true
    for index in letters.indices where letters[index] == UInt32(UInt8(ascii: ".")) {
      starts[index + 1] = true
    }
    return Self.ends(of: part, from: starts, letters)[letters.count]
  }

  /// A set of positions between letters; position 0 is before the first letter.
  private typealias Positions = [Bool]

  /// The positions where matches of a part end that begin at one of some positions.
  private static func ends(
    of part: Part, from starts: Positions, _ letters: [UInt32]
  ) -> Positions {
    var ends = Positions(repeating: false, count: starts.count)
    switch part {
    case .letter(let ranges, let isExcluded):
      for index in letters.indices where starts[index] {
        ends[index + 1] = ranges.contains { $0.contains(letters[index]) } != isExcluded
      }
    case .start: ends[0] = starts[0]
    case .end: ends[letters.count] = starts[letters.count]
    case .sequence(let parts):
      ends = parts.reduce(starts) { Self.ends(of: $1, from: $0, letters) }
    case .choice(let parts):
      for part in parts { ends.formUnion(Self.ends(of: part, from: starts, letters)) }
    case .repetition(let part, let least, let most):
      ends = repeated(part, least, most, from: starts, letters)
    }
    return ends
  }

  // After at most as many rounds as there are positions, a round changes nothing and the loop ends.
  // Large counts therefore take no longer.
  private static func repeated(
    _ part: Part, _ least: Int, _ most: Int, from starts: Positions, _ letters: [UInt32]
  ) -> Positions {
    var last = starts
    for _ in 0..<least {
      let next = ends(of: part, from: last, letters)
      if next == last { break }
      last = next
    }
    var all = last
    for _ in least..<max(least, most) {
      let next = ends(of: part, from: last, letters)
      let before = all
      all.formUnion(next)
      if all == before { break }
      last = next
    }
    return all
  }
}

extension [Bool] {
  fileprivate mutating func formUnion(_ other: [Bool]) {
    for index in indices where other[index] { self[index] = true }
  }
}

/// A parser of expressions.
private struct Parser {
  let letters: [UInt32]
  private var position = 0
  private var depth = 0

  private static let lengthLimit = 1000
  private static let depthLimit = 16

  init(letters: [UInt32]) { self.letters = letters }

  mutating func whole() throws(ModelError) -> PathPattern.Part {
    guard letters.count <= Self.lengthLimit else {
      throw ModelError(
        .limit, "a pattern is too long", expected: "at most \(Self.lengthLimit) letters",
        found: "\(letters.count)")
    }
    let part = try choice()
    guard position == letters.count else { throw malformed("a '(' for each ')'") }
    return part
  }

  private func malformed(_ expected: String) -> ModelError {
    ModelError(.malformed, "a pattern is not a regular expression", expected: expected, found: text)
  }

  private func unsupported(_ what: String) -> ModelError {
    ModelError(
      .unsupported, "a pattern has syntax that Pleat does not support: \(what)",
      expected: "letters, classes, groups, choices and repetitions", found: text)
  }

  private var text: String {
    String(String.UnicodeScalarView(letters.compactMap(UnicodeScalar.init)))
  }

  private func peek(_ ahead: Int = 0) -> UnicodeScalar? {
    position + ahead < letters.count ? UnicodeScalar(letters[position + ahead]) : nil
  }

  private mutating func take(_ letter: UnicodeScalar) -> Bool {
    guard peek() == letter else { return false }
    position += 1
    return true
  }

  private mutating func choice() throws(ModelError) -> PathPattern.Part {
    var parts = [try sequence()]
    while take("|") { parts.append(try sequence()) }
    return parts.count == 1 ? parts[0] : .choice(parts)
  }

  private mutating func sequence() throws(ModelError) -> PathPattern.Part {
    var parts: [PathPattern.Part] = []
    while let letter = peek(), letter != "|", letter != ")" {
      let part = try atom()
      guard let (least, most) = try repetition() else {
        parts.append(part)
        continue
      }
      parts.append(.repetition(part, least: least, most: most))
      if take("?") { continue }
      guard peek() != "*", peek() != "+" else { throw malformed("one repetition, not two") }
    }
    return .sequence(parts)
  }

  private mutating func atom() throws(ModelError) -> PathPattern.Part {
    let letter = peek()
    position += 1
    switch letter {
    case "(": return try group()
    case "[": return try letterClass()
    case "^": return .start
    case "$": return .end
    case ".": return .letter([10...10], isExcluded: true)
    case "*", "+", "?": throw malformed("something to repeat")
    case "\\":
      let (ranges, isExcluded) = try escape()
      return .letter(ranges, isExcluded: isExcluded)
    default:
      let value = letters[position - 1]
      return .letter([value...value], isExcluded: false)
    }
  }

  private mutating func group() throws(ModelError) -> PathPattern.Part {
    if take("?"), !take(":") { throw unsupported("a group that begins with (?") }
    depth += 1
    guard depth <= Self.depthLimit else { throw unsupported("groups nested too deeply") }
    let part = try choice()
    depth -= 1
    guard take(")") else { throw malformed("a ')'") }
    return part
  }

  private static let digits: [ClosedRange<UInt32>] = [48...57]
  private static let spaces: [ClosedRange<UInt32>] = [9...13, 32...32]
  private static let words: [ClosedRange<UInt32>] = [48...57, 65...90, 95...95, 97...122]

  private mutating func escape() throws(ModelError) -> ([ClosedRange<UInt32>], Bool) {
    guard let letter = peek() else { throw malformed("a letter after a backslash") }
    position += 1
    switch letter {
    case "d": return (Self.digits, false)
    case "D": return (Self.digits, true)
    case "s": return (Self.spaces, false)
    case "S": return (Self.spaces, true)
    case "w": return (Self.words, false)
    case "W": return (Self.words, true)
    default:
      let isWord = Self.words.contains { $0.contains(letter.value) }
      guard !isWord || letter == "_" else { throw unsupported("\\\(letter)") }
      return ([letter.value...letter.value], false)
    }
  }

  private mutating func letterClass() throws(ModelError) -> PathPattern.Part {
    let isExcluded = take("^")
    var ranges: [ClosedRange<UInt32>] = []
    var isFirst = true
    while let letter = peek(), isFirst || letter != "]" {
      isFirst = false
      var low = letter.value
      position += 1
      if letter == "\\" {
        let (found, excludes) = try escape()
        guard !excludes else { throw unsupported("a negated class within a class") }
        ranges += found
        guard found.count == 1, found[0].count == 1 else { continue }
        low = found[0].lowerBound
      }
      if peek() == "-", let high = peek(1), high != "]" {
        position += 2
        guard high != "\\" else { throw unsupported("a range that ends with a backslash") }
        guard low <= high.value else { throw malformed("a range in ascending order") }
        ranges.append(low...high.value)
      } else {
        ranges.append(low...low)
      }
    }
    guard take("]") else { throw malformed("a ']'") }
    return .letter(ranges, isExcluded: isExcluded)
  }

  /// The least and the greatest number of repetitions; nil if nothing is repeated.
  private mutating func repetition() throws(ModelError) -> (Int, Int)? {
    if take("*") { return (0, .max) }
    if take("+") { return (1, .max) }
    if take("?") { return (0, 1) }
    let start = position
    guard take("{") else { return nil }
    let least = number()
    let most = take(",") ? number() ?? .max : least
    // Braces without a count are ordinary letters.
    guard take("}"), let most else {
      position = start
      return nil
    }
    guard least ?? 0 <= most else { throw malformed("a range of counts in ascending order") }
    return (least ?? 0, most)
  }

  private mutating func number() -> Int? {
    var value: Int?
    while let letter = peek(), Self.digits[0].contains(letter.value) {
      // Larger numbers make no difference: they exceed the length of any path.
      value = min((value ?? 0) * 10 + Int(letter.value - 48), 1 << 20)
      position += 1
    }
    return value
  }
}
