internal import Kernels
internal import Synchronization
internal import SystemPackage
internal import TensorModel

/// The list of files that are whole already, in the staging folder of a set of files.
///
/// Lines of text: first what the run makes, then for each file that is on the disk its CRC-32C, its
/// length and its name. A killed run leaves it, and the next one that makes the same goes on from the
/// files that still have these checksums.
final class StagingJournal: Sendable {
  /// A file that is whole.
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

  /// Begins a journal anew, with the files that stay.
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

  /// Adds a file, which has to be on the disk.
  ///
  /// Throws `io`.
  func add(_ entry: Entry) throws(ModelError) {
    let text = Array(Self.line(entry).utf8)
    let place = position.withLock { place in
      defer { place += text.count }
      return place
    }
    try file.write(text, at: place)
    try file.synchronize()
  }

  /// Removes it: what it stands beside is about to get its name.
  func remove() throws(ModelError) { try FileSystem.removeFile(path) }

  private static func line(_ entry: Entry) -> String {
    "\(entry.checksum.text) \(entry.byteCount) \(entry.name)\n"
  }

  /// The files that a journal in a folder lists, if it is of a run that makes the same; a line that
  /// was not written to its end is none.
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
        !words[2].contains("/")
      else { return nil }
      return Entry(name: words[2], byteCount: count, checksum: checksum)
    }
  }
}
