internal import Bytes
internal import Kernels
internal import SystemPackage
internal import TensorModel

/// The first 64 bytes of a pleat file; see `formats/pleat.md`.
struct PleatFilePreamble {
  static let magic: [UInt8] = [0x89, 0x50, 0x4C, 0x45, 0x41, 0x54, 0x0D, 0x0A]  // "\x89PLEAT\r\n"
  static let byteCount = 64
  static let alignment = 64
  static let version: UInt16 = 1

  var headerOffset: Int
  var headerByteCount: Int
  var headerChecksum: CRC32C
  var fileByteCount: Int

  init(headerOffset: Int, headerByteCount: Int, headerChecksum: CRC32C) {
    self.headerOffset = headerOffset
    self.headerByteCount = headerByteCount
    self.headerChecksum = headerChecksum
    fileByteCount = headerOffset + headerByteCount
  }

  /// Reads and checks a preamble.
  ///
  /// Throws `malformed`, `unsupported` for a later version, and `io`.
  init(_ file: InputFile) throws(ModelError) {
    let path = file.path.string
    var reader = ByteReader(file)
    let bytes = try reader.bytes(Self.byteCount, of: "the preamble")
    reader = ByteReader(file, at: Self.magic.count)
    guard bytes.starts(with: Self.magic) else {
      throw ModelError(.malformed, "not a pleat file", file: path)
    }
    let major = try reader.integer(UInt16.self, of: "the version")
    let minor = try reader.integer(UInt16.self, of: "the version")
    headerChecksum = CRC32C(try reader.integer(UInt32.self, of: "the preamble"))
    let offset = try reader.integer(UInt64.self, of: "the preamble")
    let length = try reader.integer(UInt64.self, of: "the preamble")
    let total = try reader.integer(UInt64.self, of: "the preamble")
    let stored = try ByteReader(file, at: 60).checksum()
    let covered = bytes[..<60]
    let found = CRC32C(of: covered.span)
    guard stored == found else {
      throw ModelError(
        .malformed, "the preamble is damaged: its checksum does not match", file: path, offset: 0,
        expected: stored.text, found: found.text)
    }
    guard major == Self.version else {
      throw ModelError(
        .unsupported, "a later version of the pleat format", file: path, expected: "version 1",
        found: "\(major).\(minor)", hint: "a newer version of Pleat reads it")
    }
    guard total == UInt64(file.byteCount) else {
      throw ModelError(
        .malformed,
        total > UInt64(file.byteCount) ? "the file is truncated" : "the file is too long",
        file: path, expected: "\(total) bytes", found: "\(file.byteCount)",
        hint: total > UInt64(file.byteCount) ? "perhaps an incomplete download" : nil)
    }
    guard offset >= UInt64(Self.byteCount), offset <= total, length == total - offset else {
      throw ModelError(
        .malformed, "the header is not at the end of the file", file: path, offset: 16)
    }
    headerOffset = Int(offset)
    headerByteCount = Int(length)
    fileByteCount = Int(total)
  }

  /// The 64 bytes.
  var bytes: [UInt8] {
    var bytes = Self.magic
    bytes.append(littleEndian: Self.version)
    bytes.append(littleEndian: UInt16(0))
    bytes.append(littleEndian: headerChecksum.value)
    bytes.append(littleEndian: UInt64(headerOffset))
    bytes.append(littleEndian: UInt64(headerByteCount))
    bytes.append(littleEndian: UInt64(fileByteCount))
    bytes += Array(repeating: 0, count: 60 - bytes.count)
    bytes.append(littleEndian: CRC32C(of: bytes.span).value)
    return bytes
  }
}

extension ByteReader {
  fileprivate func checksum() throws(ModelError) -> CRC32C {
    var reader = self
    return CRC32C(try reader.integer(UInt32.self, of: "a checksum"))
  }
}
