internal import Foundation

/// A file that is damaged at one position at a time, and then restored.
package final class DamagedFile {
  /// The path of the file.
  package let path: String
  private let whole: [UInt8]
  private let handle: FileHandle

  /// Writes a file with these bytes to a scratch folder.
  package init(_ bytes: [UInt8], as name: String, in scratch: Scratch) throws {
    path = try scratch.write(bytes, as: name)
    whole = bytes
    guard let handle = FileHandle(forUpdatingAtPath: path) else {
      throw CocoaError(.fileWriteUnknown)
    }
    self.handle = handle
  }

  deinit { try? handle.close() }

  /// Truncates the file to `length` bytes.
  package func truncate(to length: Int) throws { try handle.truncate(atOffset: UInt64(length)) }

  /// Truncates the file to each shorter length, the longest first, and calls `body` with the
  /// length.
  package func forEachTruncation(_ body: (Int) throws -> Void) throws {
    for length in whole.indices.reversed() {
      try truncate(to: length)
      try body(length)
    }
    try put(whole, at: 0)
  }

  /// Flips the bits of `mask` in the byte at each of `offsets`, and calls `body` with the offset.
  package func forEachFlip(
    of mask: UInt8, in offsets: some Sequence<Int>, _ body: (Int) throws -> Void
  ) throws {
    for offset in offsets {
      try withFlip(of: mask, at: offset) { try body(offset) }
    }
  }

  /// Flips the bits of `mask` in the byte at `offset`, calls `body`, and restores the byte.
  package func withFlip(of mask: UInt8, at offset: Int, _ body: () throws -> Void) throws {
    try put([whole[offset] ^ mask], at: offset)
    try body()
    try put([whole[offset]], at: offset)
  }

  private func put(_ bytes: [UInt8], at offset: Int) throws {
    try handle.seek(toOffset: UInt64(offset))
    try handle.write(contentsOf: Data(bytes))
  }
}
