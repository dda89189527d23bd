internal import Kernels
internal import Synchronization
package import SystemPackage
package import TensorModel

/// A list of what is on disk already, for a later run that goes on from there.
///
/// It is a text file. Its first line is a title, which identifies the work. Each further line
/// begins with the CRC-32C of the rest of it. A killed run leaves the journal behind. What a line
/// says is true only if the bytes it speaks of were on disk before the line was added.
package final class StagingJournal: Sendable {
  /// The path of the file.
  package let path: FilePath
  private let file: OutputFile
  private let position: Mutex<Int>

  private static let byteCountLimit = 1 << 30

  /// Creates a new journal with some lines.
  ///
  /// Throws `io`, also if the file exists.
  package init(
    at path: FilePath, title: String, lines: [String] = []
  ) throws(ModelError) {
    self.path = path
    file = try OutputFile(creating: path)
    let text = Array((title + "\n" + lines.map(Self.line).joined()).utf8)
    position = Mutex(text.count)
    try file.write(text, at: 0)
    try file.synchronize()
  }

  /// Adds lines, and waits until they are on disk.
  ///
  /// Throws `io`.
  package func add(_ lines: [String]) throws(ModelError) {
    let text = Array(lines.map(Self.line).joined().utf8)
    let offset = position.withLock { position in
      defer { position += text.count }
      return position
    }
    try file.write(text, at: offset)
    try file.synchronize()
  }

  /// Removes the journal, before the files beside it are renamed into place.
  func remove() throws(ModelError) { try FileSystem.removeFile(path) }

  /// Takes the lock of the file; false if another process has it.
  ///
  /// Also true where the file system has no locks.
  package func lock() -> Bool { file.lock() }

  private static func line(_ text: String) -> String {
    "\(CRC32C(of: Array(text.utf8).span).text) \(text)\n"
  }

  /// The lines of a journal; nil if there is none, or if it has another title.
  ///
  /// A line that was not written completely does not match its checksum, and is left out. With
  /// `limit`, only lines in so many bytes at the beginning are returned. Throws `io`.
  package static func lines(
    at path: FilePath, title: String, limit: Int = .max
  ) throws(ModelError) -> [String]? {
    guard FileSystem.kind(of: path) != nil else { return nil }
    let file = try InputFile(path)
    guard file.byteCount <= byteCountLimit else { return nil }
    let bytes = try file.bytes(at: 0, count: min(limit, file.byteCount))
    let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    guard lines.count > 1, lines[0].elementsEqual(title.utf8) else { return nil }
    return lines[1..<(lines.count - 1)].compactMap { line in
      guard line.count > 9, case let text = Array(line.dropFirst(9)),
        let checksum = CRC32C(text: String(decoding: line.prefix(8), as: UTF8.self)),
        CRC32C(of: text.span) == checksum
      else { return nil }
      return String(decoding: text, as: UTF8.self)
    }
  }
}

/// A complete file in the staging folder of a set of files, as the journal there lists it.
struct FinishedFile: Equatable {
  var name: String
  var byteCount: Int
  var checksum: CRC32C

  init(name: String, byteCount: Int, checksum: CRC32C) {
    self.name = name
    self.byteCount = byteCount
    self.checksum = checksum
  }

  /// The line of the journal: the checksum, the length and the name.
  var line: String { "\(checksum.text) \(byteCount) \(name)" }

  /// Nil for a line that is something else.
  init?(line: String) {
    let words = line.split(separator: " ", maxSplits: 2).map(String.init)
    guard words.count == 3, let checksum = CRC32C(text: words[0]), let count = Int(words[1]),
      !words[2].utf8.contains(UInt8(ascii: "/"))
    else { return nil }
    self.init(name: words[2], byteCount: count, checksum: checksum)
  }
}
