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
    let known = TokenFile.NumberType.allCases.map(\.rawValue).joined(separator: ", ")
    guard let name = Self.text(after: "descr", in: text),
      let type = TokenFile.NumberType(rawValue: name)
    else {
      throw ModelError(
        .unsupported, "the elements of the array are not ids", file: file, tensor: "descr",
        expected: known, found: Self.text(after: "descr", in: text) ?? "another type")
    }
    guard let shape = Self.shape(in: text), shape.count == 1 else {
      throw ModelError(
        .unsupported, "the array does not have one dimension", file: file, tensor: "shape",
        expected: "(n,)", found: Self.shape(in: text).map { "\($0.count)" } ?? "another shape",
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

  /// What follows the key in the literal of a dictionary of Python.
  private static func value(after key: String, in text: String) -> Substring? {
    guard let range = text.firstRange(of: "'\(key)':") else { return nil }
    return text[range.upperBound...].drop { $0 == " " }
  }

  private static func text(after key: String, in text: String) -> String? {
    guard let value = value(after: key, in: text), value.first == "'" else { return nil }
    return String(value.dropFirst().prefix { $0 != "'" })
  }

  private static func shape(in text: String) -> [Int]? {
    guard let value = value(after: "shape", in: text), value.first == "(" else { return nil }
    let numbers = value.dropFirst().prefix { $0 != ")" }.split(separator: ",").map { part in
      Int(part.filter { $0 != " " })
    }
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
