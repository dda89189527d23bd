internal import TensorModel

extension TemplateValue {
  /// The text that Python's `str` gives; nil for values that have none that a template should show.
  var string: String? {
    if case .text(let text) = self { return text }
    if isUndefined { return "" }
    return representation
  }

  /// The text that Python's `repr` gives; nil for values that have none to show.
  private var representation: String? {
    switch self {
    case .undefined: "Undefined"
    case .none: "None"
    case .bool(let value): value ? "True" : "False"
    case .integer(let value): "\(value)"
    case .number(let value): Self.text(of: value)
    case .text(let text): Self.quoted(text)
    case .list(let list): Self.joined(list.values).map { "[\($0)]" }
    case .tuple(let list):
      Self.joined(list.values).map { list.values.count == 1 ? "(\($0),)" : "(\($0))" }
    case .dictionary(let dictionary): Self.members(dictionary).map { "{\($0)}" }
    case .view, .namespace, .function, .loop: nil
    }
  }

  private static func joined(_ values: [TemplateValue]) -> String? {
    let texts = values.compactMap(\.representation)
    return texts.count == values.count ? texts.joined(separator: ", ") : nil
  }

  private static func members(_ dictionary: TemplateDictionary) -> String? {
    let texts = zip(dictionary.keys, dictionary.values).compactMap { key, value in
      key.representation.flatMap { key in value.representation.map { "\(key): \($0)" } }
    }
    return texts.count == dictionary.keys.count ? texts.joined(separator: ", ") : nil
  }

  /// The shortest text that gives the number again; Python has exponents from 1e16 on.
  static func text(of value: Double) -> String {
    let text = "\(value)"
    guard value.magnitude >= 1e16, value.isFinite, !text.contains("e") else { return text }
    var digits = text.utf8.filter { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
    digits.removeLast()
    let exponent = digits.count - 1
    while digits.count > 1, digits.last == UInt8(ascii: "0") { digits.removeLast() }
    let rest = String(decoding: digits.dropFirst(), as: UTF8.self)
    return (value < 0 ? "-" : "") + String(decoding: digits.prefix(1), as: UTF8.self)
      + (rest.isEmpty ? "" : "." + rest) + "e+\(exponent)"
  }

  /// A text in quotes, as Python writes it.
  private static func quoted(_ text: String) -> String {
    let scalars = text.unicodeScalars
    let quote = scalars.contains("'") && !scalars.contains("\"") ? "\"" : "'"
    var result = quote
    for scalar in scalars {
      switch scalar {
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case "'" where quote == "'": result += "\\'"
      case _ where scalar == " " || !scalar.isUnprintable: result.unicodeScalars.append(scalar)
      case _ where scalar.value < 0x100: result += "\\x" + hex(scalar.value, 2)
      case _ where scalar.value < 0x10000: result += "\\u" + hex(scalar.value, 4)
      default: result += "\\U" + hex(scalar.value, 8)
      }
    }
    return result + quote
  }

  fileprivate static func hex(_ value: UInt32, _ count: Int) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: count - digits.count) + digits
  }
}

extension Unicode.Scalar {
  fileprivate var isUnprintable: Bool {
    switch properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
      .paragraphSeparator, .spaceSeparator:
      true
    default: false
    }
  }
}

// MARK: - JSON

/// Values as JSON, as `json.dumps` of Python writes them.
struct TemplateJSON {
  /// The text before each level; nil for one line.
  var indentation: String?
  /// Whether other characters than ASCII are escaped.
  var isASCII = false
  /// Whether keys are ordered.
  var sortsKeys = false
  /// What is between values, and between keys and values; nil for the usual texts.
  var separators: (value: String, key: String)?

  /// The text of a value; nil for values that JSON does not have.
  func text(_ value: TemplateValue, level: Int = 0) -> String? {
    switch value {
    case .none: "null"
    case .bool(let value): value ? "true" : "false"
    case .integer(let value): "\(value)"
    case .number(let value): number(value)
    case .text(let text): quoted(text)
    case .list(let list), .tuple(let list):
      lines(list.values.map { text($0, level: level + 1) }, "[", "]", level)
    case .dictionary(let dictionary): members(dictionary, level)
    case .undefined, .view, .namespace, .function, .loop: nil
    }
  }

  private func number(_ value: Double) -> String {
    value.isFinite
      ? TemplateValue.text(of: value) : value.isNaN ? "NaN" : value < 0 ? "-Infinity" : "Infinity"
  }

  private func members(_ dictionary: TemplateDictionary, _ level: Int) -> String? {
    var members: [(key: String, value: TemplateValue)] = []
    for (key, value) in zip(dictionary.keys, dictionary.values) {
      if let text = key.text {
        members.append((text, value))
      } else {
        // Python sorts the keys themselves, which must then be alike.
        guard !sortsKeys, key.isKey, let text = text(key), key.depth == 0 else { return nil }
        members.append((text, value))
      }
    }
    if sortsKeys { members.sort { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) } }
    let separator = separators?.key ?? ": "
    return lines(
      members.map { member in
        text(member.value, level: level + 1).map { quoted(member.key) + separator + $0 }
      }, "{", "}", level)
  }

  private func lines(
    _ texts: [String?], _ open: String, _ close: String, _ level: Int
  ) -> String? {
    let found = texts.compactMap(\.self)
    guard found.count == texts.count else { return nil }
    guard let indentation, !found.isEmpty else {
      return open + found.joined(separator: separators?.value ?? ", ") + close
    }
    let start = "\n" + String(repeating: indentation, count: level + 1)
    return open + start + found.joined(separator: (separators?.value ?? ",") + start) + "\n"
      + String(repeating: indentation, count: level) + close
  }

  private func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case "\u{8}": result += "\\b"
      case "\u{C}": result += "\\f"
      case _ where scalar.value < 0x20 || isASCII && scalar.value > 0x7E:
        for unit in String(scalar).utf16 { result += "\\u" + TemplateValue.hex(UInt32(unit), 4) }
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
