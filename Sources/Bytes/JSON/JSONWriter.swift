/// Writes JSON with the same bytes for the same value: keys in their order, shortest numbers.
public struct JSONWriter {
  /// The text so far.
  public private(set) var bytes: [UInt8] = []
  private let indentation: Int?

  /// A writer of one line, or of lines indented by `indentation` spaces a level.
  public init(indentation: Int? = nil) { self.indentation = indentation }

  /// The text of a value.
  public static func text(_ value: JSONValue, indentation: Int? = nil) -> String {
    var writer = JSONWriter(indentation: indentation)
    writer.write(value)
    return String(decoding: writer.bytes, as: UTF8.self)
  }

  /// Appends a value.
  public mutating func write(_ value: JSONValue) { write(value, level: 0) }

  /// Appends text as it is.
  public mutating func write(literal text: String) { bytes.append(contentsOf: text.utf8) }

  private mutating func write(_ value: JSONValue, level: Int) {
    switch value {
    case .null: write(literal: "null")
    case .bool(let value): write(literal: value ? "true" : "false")
    case .integer(let value): write(literal: String(value))
    case .number(let value): write(literal: value.isFinite ? "\(value)" : "null")
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

  /// Appends a quoted string; only what JSON requires is escaped.
  public mutating func write(string text: String) {
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""): write(literal: "\\\"")
      case UInt8(ascii: "\\"): write(literal: "\\\\")
      case 0x0A: write(literal: "\\n")
      case 0x0D: write(literal: "\\r")
      case 0x09: write(literal: "\\t")
      case 0..<0x20:
        let digits = String(byte, radix: 16)
        write(literal: "\\u" + String(repeating: "0", count: 4 - digits.count) + digits)
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }
}
