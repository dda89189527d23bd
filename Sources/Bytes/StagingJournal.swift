internal import Kernels
internal import Synchronization
internal import SystemPackage
internal import TensorModel

/// The list of complete files in the staging folder of a set of files.
///
/// The journal is a text file. Its first line identifies the output by the key of the run. Each
/// further line holds the CRC-32C, the length and the name of a file that is on disk. A killed run
/// leaves the journal behind. The next run with the same key reuses the files whose checksums still
/// match.
final class StagingJournal: Sendable {
  /// A complete file.
  struct Entry: Equatable {
    var name: String
    var byteCount: Int
    var checksum: CRC32C
  }

  private static let name = "journal"
  private static let title = "pleat staging 1"

  private let path: FilePath
  private let file: OutputFile
  private let position: Mutex<Int>

  /// Creates a new journal that lists the files to keep.
  ///
  /// Throws `io`.
  init(in folder: FilePath, key: String, entries: [Entry]) throws(ModelError) {
    path = folder.appending(Self.name)
    if FileSystem.kind(of: path) != nil { try FileSystem.removeFile(path) }
    file = try OutputFile(creating: path)
    let text = Array(("\(Self.title) \(key)\n" + entries.map(Self.line).joined()).utf8)
    position = Mutex(text.count)
    try file.write(text, at: 0)
    try file.synchronize()
  }

  /// Adds a file, which must be on disk already.
  ///
  /// Throws `io`.
  func add(_ entry: Entry) throws(ModelError) {
    let text = Array(Self.line(entry).utf8)
    let offset = position.withLock { position in
      defer { position += text.count }
      return position
    }
    try file.write(text, at: offset)
    try file.synchronize()
  }

  /// Removes the journal, before the files beside it are renamed into place.
  func remove() throws(ModelError) { try FileSystem.removeFile(path) }

  private static func line(_ entry: Entry) -> String {
    "\(entry.checksum.text) \(entry.byteCount) \(entry.name)\n"
  }

  /// The files listed in the journal of a folder; none if the journal has another key.
  ///
  /// A last line without a line feed was not written completely, and is ignored.
  static func entries(in folder: FilePath, key: String) -> [Entry] {
    let path = folder.appending(name)
    guard let file = try? InputFile(path), file.byteCount <= 1 << 24,
      let bytes = try? file.bytes(at: 0, count: file.byteCount)
    else { return [] }
    let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    guard lines.count > 1, String(decoding: lines[0], as: UTF8.self) == "\(title) \(key)" else {
      return []
    }
    return lines[1..<(lines.count - 1)].compactMap { line in
      let words = line.split(separator: UInt8(ascii: " "), maxSplits: 2)
        .map { String(decoding: $0, as: UTF8.self) }
      guard words.count == 3, let checksum = CRC32C(text: words[0]), let count = Int(words[1]),
        !words[2].utf8.contains(UInt8(ascii: "/"))
      else { return nil }
      return Entry(name: words[2], byteCount: count, checksum: checksum)
    }
  }
}
