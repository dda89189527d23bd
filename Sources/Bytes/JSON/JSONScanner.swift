package import TensorModel

/// Reads JSON text value by value, strictly and without building a tree.
///
/// It suits headers, which may be large. The caller sees every key, so it can refuse repeated ones.
package struct JSONScanner {
  private let bytes: [UInt8]
  private let file: String
  private let base: Int  // The offset of the text in the file.
  private let limits: ReadLimits
  private let allowsNonFinite: Bool
  private var position = 0
  /// The integers in skipped values that do not fit 64 bits, by their index among all numbers.
  package private(set) var wideIntegers: [Int: Double] = [:]
  private var numberCount = 0

  /// Creates a scanner of UTF-8 `bytes` that were read from `file` at `offset`.
  ///
  /// With `allowingNonFinite`, skipped values may be `NaN`, `Infinity` and `-Infinity`, as Python
  /// writes them. Throws `malformed` if the bytes are not UTF-8.
  package init(
    _ bytes: [UInt8], file: String, offset: Int, limits: ReadLimits,
    allowingNonFinite: Bool = false
  ) throws(ModelError) {
    allowsNonFinite = allowingNonFinite
    self.bytes = bytes
    self.file = file
    self.base = offset
    self.limits = limits
    do { _ = try UTF8Span(validating: bytes.span) } catch {
      throw ModelError(.malformed, "the JSON text is not UTF-8", file: file, offset: offset)
    }
  }

  /// Reads an object and calls `body` for each key; `body` must read the value of the key.
  package mutating func object(
    _ body: (inout JSONScanner, String) throws(ModelError) -> Void
  ) throws(ModelError) {
    try expect(UInt8(ascii: "{"), "an object")
    guard !take(UInt8(ascii: "}")) else { return }
    repeat {
      let key = try string()
      try expect(UInt8(ascii: ":"), "':' after a key")
      try body(&self, key)
    } while take(UInt8(ascii: ","))
    try expect(UInt8(ascii: "}"), "',' or '}'")
  }

  /// Reads a small object, as `object` does, and refuses repeated keys.
  package mutating func members(
    _ body: (inout JSONScanner, String) throws(ModelError) -> Void
  ) throws(ModelError) {
    var few: [String] = []
    var many: Set<ExactName> = []
    try object { (scanner, key) throws(ModelError) in
      let isNew =
        few.count < 16
        ? !few.contains { $0.hasSameBytes(as: key) } : many.insert(ExactName(key)).inserted
      guard isNew else { throw scanner.repetition(of: key) }
      if few.count < 16 {
        few.append(key)
        if few.count == 16 { many = Set(few.map(ExactName.init)) }
      }
      try body(&scanner, key)
    }
  }

  /// Reads an array and calls `body` for each element; `body` must read the element.
  package mutating func array(
    _ body: (inout JSONScanner) throws(ModelError) -> Void
  ) throws(ModelError) {
    try expect(UInt8(ascii: "["), "an array")
    guard !take(UInt8(ascii: "]")) else { return }
    repeat { try body(&self) } while take(UInt8(ascii: ","))
    try expect(UInt8(ascii: "]"), "',' or ']'")
  }

  /// Reads a string and resolves its escapes.
  package mutating func string() throws(ModelError) -> String {
    try expect(UInt8(ascii: "\""), "a string")
    let start = position
    while position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: "\""):
        position += 1
        return String(decoding: bytes[start..<position - 1], as: UTF8.self)
      case UInt8(ascii: "\\"): return try escapedString(from: start)
      case 0..<0x20: throw mistake("no control characters in a string")
      default: position += 1
      }
    }
    throw mistake("the end of a string")
  }

  /// Reads a non-negative integer that fits an `Int`.
  package mutating func count() throws(ModelError) -> Int {
    skipSpace()
    let start = position
    var value = 0
    while position < bytes.count, case let digit = bytes[position] &- 48, digit < 10 {
      let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = tens.addingReportingOverflow(Int(digit))
      guard !overflow, !carry else { throw mistake("a number that fits 63 bits") }
      value = sum
      position += 1
    }
    let isPlain = position > start && (bytes[start] != 48 || position == start + 1)
    guard isPlain, !(position < bytes.count && ".eE".utf8.contains(bytes[position])) else {
      throw mistake("a non-negative integer")
    }
    return value
  }

  /// Reads an array of non-negative integers.
  package mutating func counts() throws(ModelError) -> [Int] {
    var values: [Int] = []
    try array { (scanner) throws(ModelError) in values.append(try scanner.count()) }
    return values
  }

  /// Whether the next value is null; if so, skips it.
  package mutating func null() -> Bool {
    skipSpace()
    guard bytes[position...].starts(with: "null".utf8) else { return false }
    position += 4
    return true
  }

  /// The first byte of the next value, which is not skipped; nil at the end.
  package mutating func peek() -> UInt8? {
    skipSpace()
    return position < bytes.count ? bytes[position] : nil
  }

  /// Checks and skips any value, and refuses repeated keys in its objects.
  package mutating func skip(depth: Int = 1) throws(ModelError) {
    guard depth <= limits.nesting else {
      throw ModelError(
        .limit, "the JSON text is nested too deeply", file: file, offset: base + position,
        expected: "at most \(limits.nesting) levels")
    }
    skipSpace()
    switch position < bytes.count ? bytes[position] : 0 {
    case UInt8(ascii: "{"):
      var keys: Set<ExactName> = []
      try object { (scanner, key) throws(ModelError) in
        guard keys.insert(ExactName(key)).inserted else { throw scanner.repetition(of: key) }
        guard !key.utf8.contains(0) else { throw scanner.mistake("a key without U+0000") }
        try scanner.skip(depth: depth + 1)
      }
    case UInt8(ascii: "["):
      try array { (scanner) throws(ModelError) in try scanner.skip(depth: depth + 1) }
    case UInt8(ascii: "\""): _ = try string()
    default: try skipWord()
    }
  }

  /// Checks and skips any value, and returns its text.
  package mutating func rawValue() throws(ModelError) -> [UInt8] {
    skipSpace()
    let start = position
    try skip()
    return Array(bytes[start..<position])
  }

  /// Throws `malformed` unless only white space remains.
  package mutating func end() throws(ModelError) {
    skipSpace()
    guard position == bytes.count else { throw mistake("nothing after the JSON value") }
  }

  // MARK: - Parts

  private static let nonFinite = ["NaN", "Infinity", "-Infinity"]

  private mutating func skipWord() throws(ModelError) {
    for word in ["true", "false", "null"] where bytes[position...].starts(with: word.utf8) {
      position += word.utf8.count
      return
    }
    for word in allowsNonFinite ? Self.nonFinite : []
    where bytes[position...].starts(with: word.utf8) {
      position += word.utf8.count
      numberCount += 1
      return
    }
    try skipNumber()
  }

  private mutating func skipNumber() throws(ModelError) {
    let start = position
    _ = takeNow(UInt8(ascii: "-"))
    if !takeNow(UInt8(ascii: "0")) { try digits() }
    let end = position
    if takeNow(UInt8(ascii: ".")) { try digits() }
    if takeNow(UInt8(ascii: "e")) || takeNow(UInt8(ascii: "E")) {
      if !takeNow(UInt8(ascii: "+")) { _ = takeNow(UInt8(ascii: "-")) }
      try digits()
    }
    let text = String(decoding: bytes[start..<end], as: UTF8.self)
    // Where fraction and exponent are missing, the number is an integer.
    if position == end && Int64(text) == nil { wideIntegers[numberCount] = Double(text) }
    numberCount += 1
  }

  private mutating func digits() throws(ModelError) {
    let start = position
    while position < bytes.count, bytes[position] &- 48 < 10 { position += 1 }
    guard position > start else { throw mistake("a JSON value") }
  }

  private mutating func escapedString(from start: Int) throws(ModelError) -> String {
    var text = Array(bytes[start..<position])
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      switch byte {
      case UInt8(ascii: "\""): return String(decoding: text, as: UTF8.self)
      case UInt8(ascii: "\\"): text.append(contentsOf: try escape())
      case 0..<0x20: throw mistake("no control characters in a string")
      default: text.append(byte)
      }
    }
    throw mistake("the end of a string")
  }

  private mutating func escape() throws(ModelError) -> String.UTF8View {
    guard position < bytes.count else { throw mistake("an escape") }
    let letter = bytes[position]
    position += 1
    switch letter {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"):
      return String(UnicodeScalar(letter)).utf8
    case UInt8(ascii: "b"): return "\u{8}".utf8
    case UInt8(ascii: "f"): return "\u{C}".utf8
    case UInt8(ascii: "n"): return "\n".utf8
    case UInt8(ascii: "r"): return "\r".utf8
    case UInt8(ascii: "t"): return "\t".utf8
    case UInt8(ascii: "u"): return String(try unicodeEscape()).utf8
    default: throw mistake("a known escape")
    }
  }

  private mutating func unicodeEscape() throws(ModelError) -> Character {
    let first = try hexUnit()
    if let scalar = UnicodeScalar(first) { return Character(scalar) }
    if (0xD800..<0xDC00).contains(first), takeNow(UInt8(ascii: "\\")), takeNow(UInt8(ascii: "u")) {
      let second = try hexUnit()
      if (0xDC00..<0xE000).contains(second),
        let scalar = UnicodeScalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
      {
        return Character(scalar)
      }
    }
    throw mistake("a pair of surrogate escapes, not a lone surrogate")
  }

  private mutating func hexUnit() throws(ModelError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard position < bytes.count,
        let digit = Character(UnicodeScalar(bytes[position])).hexDigitValue
      else { throw mistake("four hexadecimal digits") }
      value = value << 4 | UInt32(digit)
      position += 1
    }
    return value
  }

  private mutating func skipSpace() {
    while position < bytes.count {
      switch bytes[position] {
      case 0x20, 0x0A, 0x0D, 0x09: position += 1
      default: return
      }
    }
  }

  private mutating func takeNow(_ byte: UInt8) -> Bool {
    guard position < bytes.count, bytes[position] == byte else { return false }
    position += 1
    return true
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    skipSpace()
    return takeNow(byte)
  }

  private mutating func expect(_ byte: UInt8, _ what: String) throws(ModelError) {
    guard take(byte) else { throw mistake(what) }
  }

  private func repetition(of key: String) -> ModelError {
    ModelError(
      .malformed, "the key '\(key)' occurs twice", file: file, offset: base + position,
      hint: "remove one of the two")
  }

  private func mistake(_ expected: String) -> ModelError {
    let found: String
    if position >= bytes.count {
      found = "the end of the text"
    } else {
      let end = min(position + 16, bytes.count)
      found = "'\(String(decoding: bytes[position..<end], as: UTF8.self))'"
    }
    return ModelError(
      .malformed, "the text is not valid JSON", file: file, offset: base + position,
      expected: expected, found: found,
      hint: bytes.starts(with: Self.byteOrderMark) ? "save it without a byte order mark" : nil)
  }

  private static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]
}
