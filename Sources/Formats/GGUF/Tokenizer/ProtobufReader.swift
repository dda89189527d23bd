internal import TensorModel

/// Reads the fields of a protobuf message; each length is checked against the remaining bytes.
struct ProtobufReader {
  /// The value of a field, by its wire type.
  enum Field {
    case number(UInt64)
    case float(Float)
    case bytes(Range<Int>)
    case other
  }

  private let bytes: [UInt8]
  private let file: String
  private let end: Int
  private var position: Int

  /// Creates a reader of a message in a range of a file's bytes.
  init(_ bytes: [UInt8], _ range: Range<Int>, file: String) {
    self.bytes = bytes
    self.file = file
    position = range.lowerBound
    end = range.upperBound
  }

  /// The next field and its number; nil at the end of the message.
  ///
  /// Throws `malformed`.
  mutating func next() throws(ModelError) -> (number: UInt64, field: Field)? {
    guard position < end else { return nil }
    let key = try varint()
    guard key >> 3 > 0 else { throw mistake("a field has the number 0") }
    switch key & 7 {
    case 0: return (key >> 3, .number(try varint()))
    case 1:
      _ = try take(8)
      return (key >> 3, .other)
    case 2:
      guard let count = Int(exactly: try varint()) else { throw mistake("a field is too long") }
      return (key >> 3, .bytes(try take(count)))
    case 5:
      let range = try take(4)
      let pattern = range.reversed().reduce(UInt32(0)) { $0 << 8 | UInt32(bytes[$1]) }
      return (key >> 3, .float(Float(bitPattern: pattern)))
    default: throw mistake("a field has a wire type that is not in use")
    }
  }

  private mutating func varint() throws(ModelError) -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: 0, to: 70, by: 7) {
      guard position < end else { throw mistake("the file is truncated in a number") }
      let byte = bytes[position]
      position += 1
      value |= UInt64(byte & 0x7F) << UInt64(shift)
      if byte < 0x80 { return value }
    }
    throw mistake("a number has more than ten bytes")
  }

  private mutating func take(_ count: Int) throws(ModelError) -> Range<Int> {
    guard count <= end - position else {
      throw ModelError(
        .malformed, "the file is truncated in a field", file: file, offset: position,
        expected: "\(count) more bytes", found: "\(end - position)",
        hint: "perhaps an incomplete download")
    }
    defer { position += count }
    return position..<position + count
  }

  private func mistake(_ what: String) -> ModelError {
    ModelError(
      .malformed, what, file: file, offset: position,
      hint: "the file is not a SentencePiece model, or it is damaged")
  }
}
