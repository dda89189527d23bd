internal import SystemPackage
package import TensorModel

/// Reads numbers and strings in sequence from a file or memory, and checks each length first.
package struct ByteReader {
  /// The path to show in messages.
  package let path: String
  /// The offset of the next byte.
  package private(set) var offset: Int
  /// Whether numbers are big-endian.
  package var isBigEndian = false

  private let file: InputFile?
  private let end: Int
  private var buffer: [UInt8] = []
  private var bufferStart = 0
  private static let bufferSize = 1 << 16

  /// Creates a reader of a file that starts at `offset`.
  package init(_ file: InputFile, at offset: Int = 0) {
    self.file = file
    self.offset = offset
    path = file.path.string
    end = file.byteCount
  }

  /// Creates a reader of bytes in memory; `path` is the file that they come from.
  package init(_ bytes: [UInt8], path: String) {
    file = nil
    offset = 0
    self.path = path
    end = bytes.count
    buffer = bytes
  }

  /// The number of bytes from the offset to the end.
  package var remaining: Int { end - offset }

  /// The next `count` bytes.
  ///
  /// Throws `malformed` if fewer bytes remain; the message names `what`.
  package mutating func bytes(_ count: Int, of what: String) throws(ModelError) -> [UInt8] {
    try require(count, of: what)
    if let file, count > Self.bufferSize {
      defer { offset += count }
      return try file.bytes(at: offset, count: count)
    }
    try fill(count)
    let start = offset - bufferStart
    offset += count
    return Array(buffer[start..<start + count])
  }

  /// Appends the next `count` bytes to `bytes`.
  ///
  /// Throws `malformed` if fewer bytes remain; the message names `what`.
  package mutating func copy(
    _ count: Int, to bytes: inout [UInt8], of what: String
  ) throws(ModelError) {
    if file != nil, count > Self.bufferSize {
      bytes += try self.bytes(count, of: what)
      return
    }
    try require(count, of: what)
    try fill(count)
    let start = offset - bufferStart
    offset += count
    bytes += buffer[start..<start + count]
  }

  /// Moves past the next `count` bytes, which are not read.
  ///
  /// Throws `malformed` if fewer bytes remain; the message names `what`.
  package mutating func skip(_ count: Int, of what: String) throws(ModelError) {
    try require(count, of: what)
    offset += count
  }

  /// The next unsigned integer, in the reader's byte order.
  package mutating func integer<T: FixedWidthInteger & UnsignedInteger>(
    _ type: T.Type, of what: String
  ) throws(ModelError) -> T {
    let count = MemoryLayout<T>.size
    try require(count, of: what)
    try fill(count)
    var value: T = 0
    for index in 0..<count {
      let position = isBigEndian ? index : count - 1 - index
      value = value << 8 | T(buffer[offset - bufferStart + position])
    }
    offset += count
    return value
  }

  /// The next 64-bit count of elements, each of which takes at least `elementSize` bytes.
  ///
  /// Throws `malformed` if so many elements exceed the remaining bytes.
  package mutating func count(of what: String, elementSize: Int) throws(ModelError) -> Int {
    let start = offset
    let value = try integer(UInt64.self, of: what)
    guard let count = Int(exactly: value), count <= remaining / max(elementSize, 1) else {
      throw ModelError(
        .malformed, "the count of \(what) does not fit the file", file: path,
        offset: start, expected: "at most \(remaining / max(elementSize, 1))", found: "\(value)",
        hint: "the file is damaged or truncated")
    }
    return count
  }

  /// Throws `malformed` unless at least `count` bytes remain.
  package func require(_ count: Int, of what: String) throws(ModelError) {
    guard count <= remaining else {
      throw ModelError(
        .malformed, "the file is truncated in \(what)", file: path, offset: offset,
        expected: "\(count) more bytes", found: "\(remaining)",
        hint: "perhaps an incomplete download")
    }
  }

  private mutating func fill(_ count: Int) throws(ModelError) {
    if offset >= bufferStart, offset + count <= bufferStart + buffer.count { return }
    guard let file else { return }
    bufferStart = offset
    buffer = try file.bytes(at: offset, count: min(max(count, Self.bufferSize), remaining))
  }
}
