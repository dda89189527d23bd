internal import Bytes
internal import SystemPackage
internal import TensorModel

/// The header of a file of NumPy with an array of one dimension (numpy.lib.format).
struct NumPyHeader {
  /// The type of the elements.
  let type: TokenFile.NumberType
  /// The number of elements.
  let count: Int
  /// The offset of the first element in the file.
  let offset: Int

  private static let magic = [0x93] + Array("NUMPY".utf8)
  private static let alignment = 64
  private static let lengthLimit = 1 << 16

  /// Reads a header, and compares the length of the file with it.
  ///
  /// Throws `io`, `malformed`, `limit`, and `unsupported` for types and shapes that no ids have.
  init(_ input: InputFile) throws(ModelError) {
    let file = input.path.string
    var reader = ByteReader(input)
    let start = try reader.bytes(8, of: "the header of an array")
    guard start[..<6] == Self.magic[...], (1...3).contains(start[6]) else {
      throw ModelError(
        .malformed, "the file is not an array of NumPy", file: file,
        expected: "\\x93NUMPY and version 1 to 3")
    }
    let length =
      start[6] == 1
      ? Int(try reader.integer(UInt16.self, of: "the length of the header"))
      : Int(try reader.integer(UInt32.self, of: "the length of the header"))
    guard length <= Self.lengthLimit else {
      throw ModelError(
        .limit, "the header is too long", file: file, expected: "at most \(Self.lengthLimit) bytes",
        found: "\(length)")
    }
    let text = String(
      decoding: try reader.bytes(length, of: "the header of an array"), as: UTF8.self)
    offset = reader.offset
    guard let entries = Self.entries(of: text) else {
      throw ModelError(
        .malformed, "the header of the array is damaged", file: file,
        expected: "a dictionary of Python with each key once")
    }
    let known = TokenFile.NumberType.allCases.map(\.rawValue).joined(separator: ", ")
    guard let name = entries["descr"].flatMap(Self.text),
      let type = TokenFile.NumberType(rawValue: name)
    else {
      throw ModelError(
        .unsupported, "the elements of the array are not ids", file: file, tensor: "descr",
        expected: known, found: entries["descr"].flatMap(Self.text) ?? "another type")
    }
    let shape = entries["shape"].flatMap(Self.shape)
    guard let shape, shape.count == 1 else {
      throw ModelError(
        .unsupported, "the array does not have one dimension", file: file, tensor: "shape",
        expected: "(n,)", found: shape.map { "\($0.count)" } ?? "another shape",
        hint: "save array.ravel()")
    }
    (self.type, count) = (type, shape[0])
    let (byteCount, overflow) = count.multipliedReportingOverflow(by: type.byteCount)
    guard !overflow, input.byteCount - offset == byteCount else {
      throw ModelError(
        .malformed, "the file has another length than its header states", file: file,
        expected: "\(count) elements of \(type.byteCount) bytes",
        found: "\(input.byteCount - offset) bytes")
    }
  }

  /// The values of the literal of a dictionary of Python, as it writes them, by their keys.
  ///
  /// Nil for a text that is something else, or has a key twice.
  private static func entries(of text: String) -> [String: Substring]? {
    let text = trimmed(text[...])
    guard text.first == "{", text.last == "}", text.count > 1 else { return nil }
    var entries: [String: Substring] = [:]
    for item in items(of: text.dropFirst().dropLast()) {
      guard let colon = item.firstIndex(of: ":"), let key = self.text(trimmed(item[..<colon])),
        entries.updateValue(trimmed(item[item.index(after: colon)...]), forKey: key) == nil
      else { return nil }
    }
    return entries
  }

  /// The texts between commas that are in no brackets and no quotation marks, without empty ones.
  private static func items(of text: Substring) -> [Substring] {
    var items: [Substring] = []
    var (start, depth) = (text.startIndex, 0)
    var quote: Character?
    for index in text.indices {
      let character = text[index]
      if let mark = quote {
        if character == mark { quote = nil }
        continue
      }
      switch character {
      case "'", "\"": quote = character
      case "(", "[", "{": depth += 1
      case ")", "]", "}": depth -= 1
      case "," where depth == 0:
        items.append(text[start..<index])
        start = text.index(after: index)
      default: break
      }
    }
    return (items + [text[start...]]).map(trimmed).filter { !$0.isEmpty }
  }

  private static func trimmed(_ text: Substring) -> Substring {
    let rest = text.drop { $0 == " " || $0 == "\n" }
    guard let last = rest.lastIndex(where: { $0 != " " && $0 != "\n" }) else { return "" }
    return rest[...last]
  }

  /// The text between two quotation marks; nil for another value.
  private static func text(_ value: Substring) -> String? {
    guard let mark = value.first, mark == "'" || mark == "\"", value.count > 1, value.last == mark,
      case let inner = value.dropFirst().dropLast(), !inner.contains(mark)
    else { return nil }
    return String(inner)
  }

  private static func shape(_ value: Substring) -> [Int]? {
    guard value.first == "(", value.last == ")" else { return nil }
    let numbers = value.dropFirst().dropLast().split(separator: ",").map(trimmed)
      .filter { !$0.isEmpty }.map { Int($0) }
    let known = numbers.compactMap { $0 }
    return known.count == numbers.count && known.allSatisfy { $0 >= 0 } ? known : nil
  }

  /// A header, after which the elements follow, as NumPy writes it.
  static func bytes(_ type: TokenFile.NumberType, count: Int) -> [UInt8] {
    let text = "{'descr': '\(type.rawValue)', 'fortran_order': False, 'shape': (\(count),), }"
    var bytes = magic + [1, 0]
    let end = bytes.count + 2 + text.utf8.count + 1
    let padding = (alignment - end % alignment) % alignment
    bytes.append(littleEndian: UInt16(text.utf8.count + padding + 1))
    bytes += text.utf8
    bytes += [UInt8](repeating: UInt8(ascii: " "), count: padding)
    bytes.append(UInt8(ascii: "\n"))
    return bytes
  }
}
