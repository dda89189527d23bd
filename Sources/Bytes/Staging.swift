internal import Synchronization
package import SystemPackage
package import TensorModel

/// Output files under temporary names beside their final ones; they get those all at once, or never.
///
/// Dropped unpublished, it removes everything it made, unless it is to keep files that are whole.
package final class Staging: Sendable {
  /// Where the result will be: a file, or a folder of files.
  package let destination: FilePath
  private let folder: StagingFolder
  private let isFolder: Bool
  private let files: Mutex<[OutputFile]> = Mutex([])
  private let journal: StagingJournal?
  private let kept: [String]
  private let keepsFinished: Bool

  /// A place for the parts of `destination`.
  ///
  /// - Parameters:
  ///   - destination: The file or folder that the result will be.
  ///   - isFolder: Whether the result is a folder of several files.
  ///   - names: The names that the files will have.
  ///   - replacing: Whether existing files are replaced.
  ///   - resumption: For sets of files, what is made of what.
  /// - Throws: `io`; `usage` when the result exists and may not be replaced, and while another
  ///   process writes it.
  package init(
    _ destination: FilePath, isFolder: Bool, names: [String], replacing: Bool,
    resumption: Resumption? = nil
  ) throws(ModelError) {
    self.destination = destination
    self.isFolder = isFolder
    let parent = destination.parentFolder
    guard FileSystem.kind(of: parent) == .folder else {
      throw ModelError(
        .io, "the folder to write to does not exist", file: parent.string,
        hint: "make it first: mkdir -p \(parent.string)")
    }
    for path in isFolder ? [destination] : names.map(destination.sibling) {
      try Self.check(path, isFolder: isFolder, replacing: replacing)
    }
    folder = try StagingFolder(for: destination)
    keepsFinished = resumption?.isWanted ?? false
    var entries: [StagingJournal.Entry] = []
    if let resumption, resumption.isWanted {
      entries = try Self.whole(
        StagingJournal.entries(in: folder.path, key: resumption.key), in: folder.path)
    }
    let kept = entries.map(\.name)
    self.kept = kept
    if !kept.isEmpty { folder.stay() }
    for name in FileSystem.names(in: folder.path) where !kept.contains(name) {
      try FileSystem.removeFile(folder.path.appending(name))
    }
    if let resumption {
      journal = try StagingJournal(in: folder.path, key: resumption.key, entries: entries)
    } else {
      journal = nil
    }
  }

  /// What a set of files is made of, so that a later run can go on from what is there.
  package struct Resumption: Sendable {
    /// Equal only for runs that make the same bytes.
    package var key: String
    /// Whether files of an earlier run are used, and those of this one kept when it fails.
    package var isWanted: Bool

    package init(key: String, isWanted: Bool) {
      self.key = key
      self.isWanted = isWanted
    }
  }

  /// The files that still are what a journal says.
  private static func whole(
    _ entries: [StagingJournal.Entry], in folder: FilePath
  ) throws(ModelError) -> [StagingJournal.Entry] {
    var whole: [StagingJournal.Entry] = []
    for entry in entries where FileSystem.kind(of: folder.appending(entry.name)) == .file {
      let file = try InputFile(folder.appending(entry.name))
      guard file.byteCount == entry.byteCount, try file.checksum() == entry.checksum else {
        continue
      }
      whole.append(entry)
    }
    return whole
  }

  // What is at a final path may not be replaced unasked, nor by something of another kind; an empty
  // folder may be filled.
  private static func check(
    _ path: FilePath, isFolder: Bool, replacing: Bool
  ) throws(ModelError) {
    guard let kind = FileSystem.kind(of: path) else { return }
    guard kind == (isFolder ? .folder : .file) else {
      throw ModelError(
        .usage, "the output is in the way of something else", file: path.string,
        expected: isFolder ? "a folder" : "a file", found: kind.description,
        hint: "write to another path")
    }
    guard replacing || isFolder && FileSystem.names(in: path).isEmpty else {
      throw ModelError(
        .usage, "the output exists", file: path.string, hint: "pass --force to replace it")
    }
  }

  /// Begins a file that will have `name` in the folder of the result, and about `byteCount` bytes, or
  /// takes the one that an earlier run has finished.
  ///
  /// Throws `io`.
  package func create(
    _ name: String, byteCount: Int = 0
  ) throws(ModelError) -> OutputFile {
    let path = path(of: name)
    let file =
      isKept(name)
      ? try OutputFile(finished: path)
      : try OutputFile(creating: path, byteCount: byteCount, remembers: journal != nil)
    files.withLock { $0.append(file) }
    return file
  }

  /// Whether an earlier run has finished a file, which nobody has to write.
  package func isKept(_ name: String) -> Bool { kept.contains(name) }

  /// Puts a file on the disk that nothing more will be written to, and notes that it is whole.
  ///
  /// Throws `io`.
  package func finish(_ file: OutputFile) throws(ModelError) {
    guard let journal else { return }
    try file.synchronize()
    let written = try file.written()
    try journal.add(
      .init(
        name: written.path.lastComponent?.string ?? "", byteCount: written.byteCount,
        checksum: try written.checksum()))
    if keepsFinished { folder.stay() }
  }

  /// Where a file is until it gets its final name.
  package func path(of name: String) -> FilePath { folder.path.appending(name) }

  /// Waits until all files are on the disk, under their temporary names.
  ///
  /// Throws `io`.
  package func synchronize() throws(ModelError) {
    for file in files.withLock({ $0 }) { try file.synchronize() }
    try journal?.remove()
    try FileSystem.synchronizeFolder(folder.path)
  }

  /// Gives every file its final name, once all are on the disk.
  ///
  /// An existing folder changes places with a new one, which has what else was in it, where the
  /// system can do that. Otherwise the guards, without which no reader takes the rest for a model,
  /// go first and come last.
  ///
  /// - Parameters:
  ///   - guards: The files that say that the others are whole.
  ///   - isStale: Which other files of an existing folder the new ones make meaningless.
  /// - Throws: `io`.
  package func publish(
    guards: [String] = [], removing isStale: (String) -> Bool = { _ in false }
  ) throws(ModelError) {
    let names = files.withLock { $0 }.compactMap { $0.path.lastComponent?.string }
    let others = isFolder ? FileSystem.names(in: destination).filter { !names.contains($0) } : []
    if isFolder && FileSystem.kind(of: destination) == nil {
      try FileSystem.rename(folder.path, to: destination)
    } else if isFolder, try adopt(others.filter { !isStale($0) }) {
      FileSystem.removeFolder(folder.path)
    } else {
      try move(names, guards: guards, removing: others.filter(isStale))
      FileSystem.removeFolder(folder.path)
    }
    folder.stay()
    try FileSystem.synchronizeFolder(destination.parentFolder)
  }

  /// Lets the new folder take the place of the old one, with the files of that which stay; false
  /// where it cannot.
  private func adopt(_ others: [String]) throws(ModelError) -> Bool {
    guard !FileSystem.isLink(destination),
      FileSystem.names(in: destination).allSatisfy({
        FileSystem.kind(of: destination.appending($0)) == .file
      }),
      others.allSatisfy({ FileSystem.link(destination.appending($0), to: path(of: $0)) })
    else {
      for name in others { try? FileSystem.removeFile(path(of: name)) }
      return false
    }
    try FileSystem.synchronizeFolder(folder.path)
    guard FileSystem.exchange(folder.path, with: destination) else {
      for name in others { try FileSystem.removeFile(path(of: name)) }
      return false
    }
    return true
  }

  private func move(
    _ names: [String], guards: [String], removing stale: [String]
  ) throws(ModelError) {
    let target = isFolder ? destination : destination.parentFolder
    let guards = names.count > 1 ? guards : []
    for name in guards + stale where FileSystem.kind(of: target.appending(name)) != nil {
      try FileSystem.removeFile(target.appending(name))
    }
    if !guards.isEmpty { try FileSystem.synchronizeFolder(target) }
    for name in names where !guards.contains(name) {
      try FileSystem.rename(path(of: name), to: target.appending(name))
    }
    if !guards.isEmpty { try FileSystem.synchronizeFolder(target) }
    for name in names where guards.contains(name) {
      try FileSystem.rename(path(of: name), to: target.appending(name))
    }
    if isFolder { try FileSystem.synchronizeFolder(target) }
  }
}

extension FileSystem.Kind {
  fileprivate var description: String {
    switch self {
    case .file: "a file"
    case .folder: "a folder"
    case .other: "a device or a pipe"
    }
  }
}
