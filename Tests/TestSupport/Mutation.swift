internal import Foundation

/// A file that is damaged in one place at a time, and mended again.
package final class DamagedFile {
  /// Its path.
  package let path: String
  private let whole: [UInt8]
  private let handle: FileHandle

  /// A file of these bytes in a scratch folder.
  package init(_ bytes: [UInt8], as name: String, in scratch: Scratch) throws {
    path = try scratch.write(bytes, as: name)
    whole = bytes
    guard let handle = FileHandle(forUpdatingAtPath: path) else {
      throw CocoaError(.fileWriteUnknown)
    }
    self.handle = handle
  }

  deinit { try? handle.close() }

  // A sanitizer makes every step ten times as long: `scripts/sanitize` takes a part of the places,
  // and others in each file. All other runs take all.
  private static let step =
    ProcessInfo.processInfo.environment["PLEAT_SANITIZED"] == nil ? 1 : 29

  private func isChosen(_ place: Int) -> Bool { (place + whole.count) % Self.step == 0 }

  /// Cuts the file.
  package func truncate(to length: Int) throws { try handle.truncate(atOffset: UInt64(length)) }

  /// Calls `body` with each length that is less than the whole, the longest first.
  package func forEachTruncation(_ body: (Int) throws -> Void) throws {
    for length in whole.indices.reversed() where isChosen(length) {
      try truncate(to: length)
      try body(length)
    }
    try put(whole, at: 0)
  }

  /// Calls `body` while one byte is combined with `mask`, for each of `offsets`.
  package func forEachFlip(
    of mask: UInt8, in offsets: some Sequence<Int>, _ body: (Int) throws -> Void
  ) throws {
    for offset in offsets where isChosen(offset) {
      try put([whole[offset] ^ mask], at: offset)
      try body(offset)
      try put([whole[offset]], at: offset)
    }
  }

  private func put(_ bytes: [UInt8], at offset: Int) throws {
    try handle.seek(toOffset: UInt64(offset))
    try handle.write(contentsOf: Data(bytes))
  }
}
