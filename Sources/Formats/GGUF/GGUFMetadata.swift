package import Bytes
internal import SystemPackage
package import TensorModel

/// Reads and writes the metadata records of GGUF, which pleat files contain too.
package enum GGUFMetadata {
  /// Reads `count` records.
  ///
  /// In `version` 1 lengths have 32 bits. Throws `malformed` and `limit`.
  package static func read(
    _ reader: inout ByteReader, count: Int, version: UInt32, limits: ReadLimits
  ) throws(ModelError) -> Metadata {
    let file = reader.path
    guard count <= limits.metadataCount else {
      throw ModelError(
        .limit, "too much metadata", file: file,
        expected: "at most \(limits.metadataCount) entries",
        found: "\(count)")
    }
    var source = RecordReader(reader: reader, version: version, limits: limits)
    var metadata = Metadata()
    var seen: Set<ExactName> = []
    for _ in 0..<count {
      let key = try source.name(of: "a metadata key")
      guard !key.isEmpty else {
        throw ModelError(.malformed, "a metadata key is empty", file: file)
      }
      guard seen.insert(ExactName(key)).inserted else {
        throw ModelError(.malformed, "the metadata has the key twice", file: file, tensor: key)
      }
      do throws(ModelError) { metadata.append(key, try source.value(try source.type())) } catch {
        throw error.located(file: file, tensor: key)
      }
    }
    reader = source.reader
    return metadata
  }

  /// Reads `count` records from bytes that `bytes(of:)` made.
  package static func parse(
    _ bytes: [UInt8], count: Int, _ file: InputFile, _ limits: ReadLimits
  ) throws(ModelError) -> Metadata {
    var reader = ByteReader(bytes, path: file.path.string)
    let metadata = try read(&reader, count: count, version: 3, limits: limits)
    guard reader.remaining == 0 else {
      throw ModelError(
        .malformed, "there are extra bytes after the last metadata entry", file: file.path.string,
        found: "\(reader.remaining) bytes")
    }
    return metadata
  }

  /// The records of all entries, in order, little-endian, with 64-bit lengths.
  package static func bytes(of metadata: Metadata) -> [UInt8] {
    var bytes: [UInt8] = []
    for entry in metadata.entries {
      append(text: Array(entry.key.utf8), to: &bytes)
      bytes.append(littleEndian: entry.value.type.rawValue)
      append(entry.value, to: &bytes)
    }
    return bytes
  }

  /// Appends the length of a text in 64 bits, and the text.
  static func append(text: [UInt8], to bytes: inout [UInt8]) {
    bytes.append(littleEndian: UInt64(text.count))
    bytes += text
  }

  private static func append(_ value: MetadataValue, to bytes: inout [UInt8]) {
    switch value {
    case .unsigned(let value, let type): append(value, type, to: &bytes)
    case .signed(let value, let type): append(UInt64(bitPattern: value), type, to: &bytes)
    case .float(let value): bytes.append(littleEndian: value.bitPattern)
    case .double(let value): bytes.append(littleEndian: value.bitPattern)
    case .bool(let value): bytes.append(value ? 1 : 0)
    case .string(let text): append(text: text, to: &bytes)
    case .array(let array):
      bytes.append(littleEndian: array.elementType.rawValue)
      bytes.append(littleEndian: UInt64(array.count))
      bytes += array.bytes
    }
  }

  private static func append(_ value: UInt64, _ type: MetadataType, to bytes: inout [UInt8]) {
    for index in 0..<(type.byteCount ?? 8) {
      bytes.append(UInt8(truncatingIfNeeded: value >> (8 * index)))
    }
  }
}

/// Reads the names, types and values of records, in any version and byte order.
struct RecordReader {
  var reader: ByteReader
  let version: UInt32
  let limits: ReadLimits

  /// Reads a length or a count: 32 bits in version 1, otherwise 64.
  mutating func length(of what: String, elementSize: Int) throws(ModelError) -> Int {
    if version > 1 { return try reader.count(of: what, elementSize: elementSize) }
    let count = Int(try reader.integer(UInt32.self, of: what))
    try reader.require(count * elementSize, of: what)
    return count
  }

  /// Reads a text that must be UTF-8.
  mutating func name(of what: String) throws(ModelError) -> String {
    let start = reader.offset
    let bytes = try reader.bytes(try length(of: what, elementSize: 1), of: what)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw ModelError(.malformed, "\(what) is not UTF-8", file: reader.path, offset: start)
    }
    return text
  }

  mutating func type() throws(ModelError) -> MetadataType {
    let start = reader.offset
    let number = try reader.integer(UInt32.self, of: "a metadata type")
    guard let type = MetadataType(rawValue: number) else {
      throw ModelError(
        .malformed, "unknown metadata type", offset: start, expected: "0…12", found: "\(number)")
    }
    return type
  }

  mutating func value(_ type: MetadataType) throws(ModelError) -> MetadataValue {
    let what = "a metadata value"
    switch type {
    case .u8: return .unsigned(UInt64(try reader.integer(UInt8.self, of: what)), type)
    case .u16: return .unsigned(UInt64(try reader.integer(UInt16.self, of: what)), type)
    case .u32: return .unsigned(UInt64(try reader.integer(UInt32.self, of: what)), type)
    case .u64: return .unsigned(try reader.integer(UInt64.self, of: what), type)
    case .i8:
      return .signed(Int64(Int8(bitPattern: try reader.integer(UInt8.self, of: what))), type)
    case .i16:
      return .signed(Int64(Int16(bitPattern: try reader.integer(UInt16.self, of: what))), type)
    case .i32:
      return .signed(Int64(Int32(bitPattern: try reader.integer(UInt32.self, of: what))), type)
    case .i64: return .signed(Int64(bitPattern: try reader.integer(UInt64.self, of: what)), type)
    case .f32: return .float(Float(bitPattern: try reader.integer(UInt32.self, of: what)))
    case .f64: return .double(Double(bitPattern: try reader.integer(UInt64.self, of: what)))
    case .bool: return .bool(try reader.integer(UInt8.self, of: what) != 0)
    case .string: return .string(try text())
    case .array: return .array(try array())
    }
  }

  private mutating func text() throws(ModelError) -> [UInt8] {
    let count = try length(of: "a metadata string", elementSize: 1)
    try check(count)
    return try reader.bytes(count, of: "a metadata string")
  }

  /// Reads a text and appends it as `MetadataArray` stores texts: its length in 64 bits, then bytes.
  private mutating func copyText(to bytes: inout [UInt8]) throws(ModelError) {
    let count = try length(of: "a metadata string", elementSize: 1)
    try check(count)
    bytes.append(littleEndian: UInt64(count))
    try reader.copy(count, to: &bytes, of: "a metadata string")
  }

  private mutating func array() throws(ModelError) -> MetadataArray {
    let type = try type()
    guard type != .array else {
      throw ModelError(
        .unsupported, "the metadata value is an array of arrays", offset: reader.offset)
    }
    let width = type.byteCount
    let lengthSize = version > 1 ? 8 : 4
    let count = try length(of: "a metadata array", elementSize: width ?? lengthSize)
    try check(count * (width ?? lengthSize))
    guard let width else {
      var bytes: [UInt8] = []
      for _ in 0..<count {
        try copyText(to: &bytes)
        try check(bytes.count)
      }
      return MetadataArray(elementType: type, count: count, bytes: bytes)
    }
    var bytes = try reader.bytes(count * width, of: "a metadata array")
    if reader.isBigEndian, width > 1 {
      for start in stride(from: 0, to: bytes.count, by: width) {
        bytes[start..<start + width].reverse()
      }
    }
    return MetadataArray(elementType: type, count: count, bytes: bytes)
  }

  private func check(_ byteCount: Int) throws(ModelError) {
    guard byteCount <= limits.metadataByteCount else {
      throw ModelError(
        .limit, "a metadata value is too large",
        expected: "at most \(limits.metadataByteCount) bytes", found: "\(byteCount)")
    }
  }
}
