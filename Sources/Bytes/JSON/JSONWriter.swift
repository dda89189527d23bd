/// Writes JSON with the same bytes for the same value: keys in order, numbers as short as possible.
public struct JSONWriter {
  /// The text written since the last `take`.
  public private(set) var bytes: [UInt8] = []
  private var otherByteCount = 0  // of the text that was taken, or only counted
  private let countsOnly: Bool
  private let indentation: Int?
  private let escapesControls: Bool
  private let writesNonFinite: Bool

  /// Creates a writer.
  ///
  /// - Parameters:
  ///   - indentation: The spaces for each level; nil for one line.
  ///   - escapingControls: Whether characters that could control a terminal are escaped too,
  ///     although JSON does not require it.
  ///   - writingNonFinite: Whether numbers that are not finite are written as Python writes them:
  ///     `NaN`, `Infinity` and `-Infinity`. Otherwise they become `null`.
  public init(
    indentation: Int? = nil, escapingControls: Bool = false, writingNonFinite: Bool = false
  ) {
    countsOnly = false
    self.indentation = indentation
    escapesControls = escapingControls
    writesNonFinite = writingNonFinite
  }

  /// Creates a writer that keeps the length of most text, but not the text.
  package init(countingOnly: Bool) {
    countsOnly = countingOnly
    indentation = nil
    escapesControls = false
    writesNonFinite = false
  }

  /// The length of everything written so far, in bytes.
  package var byteCount: Int { otherByteCount + bytes.count }

  /// The JSON text of a value; for the parameters see
  /// `init(indentation:escapingControls:writingNonFinite:)`.
  public static func text(
    _ value: JSONValue, indentation: Int? = nil, escapingControls: Bool = false,
    writingNonFinite: Bool = false
  ) -> String {
    var writer = JSONWriter(
      indentation: indentation, escapingControls: escapingControls,
      writingNonFinite: writingNonFinite)
    writer.write(value)
    return String(decoding: writer.bytes, as: UTF8.self)
  }

  /// Passes the text so far to `body`, and clears it.
  public mutating func take<Failure: Error>(
    _ body: ([UInt8]) throws(Failure) -> Void
  ) throws(Failure) {
    try body(bytes)
    otherByteCount += bytes.count
    bytes.removeAll(keepingCapacity: true)
  }

  /// Appends a value.
  public mutating func write(_ value: JSONValue) { write(value, level: 0) }

  /// Appends text without quotes or escapes.
  public mutating func write(literal text: String) {
    guard !countsOnly else { return otherByteCount += text.utf8.count }
    // Safety: the string's own bytes are read during the call only.
    let isWritten: Void? = unsafe text.utf8.withContiguousStorageIfAvailable {
      unsafe bytes.append(contentsOf: $0)
    }
    if isWritten == nil { bytes.append(contentsOf: text.utf8) }
  }

  /// Appends a non-negative integer.
  public mutating func write(count: Int) {
    guard !countsOnly else { return otherByteCount += Self.digitCount(of: count.magnitude) }
    // In bounds: the largest 64-bit magnitude has 20 digits, so `first` stays at 0 or above.
    unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
      var rest = count.magnitude
      var first = digits.count
      repeat {
        first -= 1
        unsafe digits.initializeElement(
          at: first, to: UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10))
        rest /= 10
      } while rest > 0
      unsafe bytes.append(contentsOf: UnsafeBufferPointer(rebasing: digits[first...]))
    }
  }

  private static func digitCount(of number: UInt) -> Int {
    var (count, power) = (1, UInt(10))
    // The largest 64-bit magnitude has 20 digits.
    while count < 20, number >= power { (count, power) = (count + 1, power &* 10) }
    return count
  }

  private mutating func write(_ value: JSONValue, level: Int) {
    switch value {
    case .null: write(literal: "null")
    case .bool(let value): write(literal: value ? "true" : "false")
    case .integer(let value): write(literal: String(value))
    case .number(let value): write(literal: text(of: value))
    case .string(let text): write(string: text)
    case .array(let values):
      // Arrays of numbers, such as shapes, stay on one line.
      let isFlat = values.allSatisfy { if case .integer = $0 { true } else { false } }
      list("[", values, "]", level: isFlat ? nil : level) { $0.write($1, level: level + 1) }
    case .object(let members):
      list("{", members, "}", level: level) {
        $0.write(string: $1.key)
        $0.write(literal: $0.indentation == nil ? ":" : ": ")
        $0.write($1.value, level: level + 1)
      }
    }
  }

  private func text(of number: Double) -> String {
    if number.isFinite { return "\(number)" }
    guard writesNonFinite else { return "null" }
    return number.isNaN ? "NaN" : number < 0 ? "-Infinity" : "Infinity"
  }

  private mutating func list<Element>(
    _ open: String, _ elements: [Element], _ close: String, level: Int?,
    body: (inout JSONWriter, Element) -> Void
  ) {
    write(literal: open)
    for (index, element) in elements.enumerated() {
      if index > 0 { write(literal: ",") }
      breakLine(level.map { $0 + 1 }, or: index > 0 ? " " : "")
      body(&self, element)
    }
    if !elements.isEmpty { breakLine(level, or: "") }
    write(literal: close)
  }

  private mutating func breakLine(_ level: Int?, or space: String) {
    guard let indentation else { return }
    guard let level else { return write(literal: space) }
    write(literal: "\n" + String(repeating: " ", count: level * indentation))
  }

  /// Appends a quoted string, and escapes what JSON requires or `escapingControls` asks for.
  public mutating func write(string text: String) {
    // Safety: the string's own bytes are read during the call only.
    let isPlain = unsafe text.utf8.withContiguousStorageIfAvailable { text in
      unsafe text.allSatisfy { Self.isPlain($0) }
    }
    guard !(isPlain ?? text.utf8.allSatisfy(Self.isPlain)) else {
      bytes.append(UInt8(ascii: "\""))
      write(literal: text)
      return bytes.append(UInt8(ascii: "\""))
    }
    bytes.append(UInt8(ascii: "\""))
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": write(literal: "\\\"")
      case "\\": write(literal: "\\\\")
      case "\n": write(literal: "\\n")
      case "\r": write(literal: "\\r")
      case "\t": write(literal: "\\t")
      case _ where scalar.value < 0x20 || escapesControls && scalar.isTerminalControl:
        for unit in Character(scalar).utf16 { write(unit: unit) }
      case _ where scalar.isASCII: bytes.append(UInt8(truncatingIfNeeded: scalar.value))
      default: bytes.append(contentsOf: String(scalar).utf8)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private static func isPlain(_ byte: UInt8) -> Bool {
    0x20..<0x7F ~= byte && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
  }

  private mutating func write(unit: UInt16) {
    let digits = String(unit, radix: 16)
    write(literal: "\\u" + String(repeating: "0", count: 4 - digits.count) + digits)
  }
}
