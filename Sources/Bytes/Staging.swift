internal import Synchronization
package import SystemPackage
package import TensorModel

/// Writes output files under temporary names, and renames them into place together.
///
/// If it is released before `publish`, it removes everything that it made, unless complete files are kept
/// for a later run.
package final class Staging: Sendable {
  /// The path of the result: a file, or a folder of files.
  package let destination: FilePath
  private let folder: StagingFolder
  private let isFolder: Bool
  private let files: Mutex<[OutputFile]> = Mutex([])
  private let journal: StagingJournal?
  private let kept: [String]
  private let keepsFinished: Bool

  /// Creates the temporary folder for the files of `destination`.
  ///
  /// - Parameters:
  ///   - destination: The path of the resulting file or folder.
  ///   - isFolder: Whether the result is a folder of several files.
  ///   - names: The final names of the files.
  ///   - replacing: Whether existing files are replaced.
  ///   - resumption: For sets of files, how a run goes on from an earlier one.
  /// - Throws: `io`; `usage` if the result exists and must not be replaced, or if another process
  ///   writes it.
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

  /// How a run reuses the complete files of an earlier run that stopped.
  package struct Resumption: Sendable {
    /// Identifies the output: equal only for runs that write the same bytes.
    package var key: String
    /// Whether this run reuses files of an earlier run, and keeps its own files if it fails.
    package var isWanted: Bool

    package init(key: String, isWanted: Bool) {
      self.key = key
      self.isWanted = isWanted
    }
  }

  /// The entries whose files still have the length and checksum of the journal.
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

  // Without `replacing`, nothing at a final path is replaced, but an empty folder may be filled. A
  // file never replaces a folder, nor a folder a file.
  private static func check(
    _ path: FilePath, isFolder: Bool, replacing: Bool
  ) throws(ModelError) {
    guard let kind = FileSystem.kind(of: path) else { return }
    guard kind == (isFolder ? .folder : .file) else {
      throw ModelError(
        .usage, "something else exists at the output path", file: path.string,
        expected: isFolder ? "a folder" : "a file", found: kind.description,
        hint: "write to another path")
    }
    guard replacing || isFolder && FileSystem.names(in: path).isEmpty else {
      throw ModelError(
        .usage, "the output exists", file: path.string, hint: "pass --force to replace it")
    }
  }

  /// Creates the file `name` of the result, or opens the one that an earlier run finished.
  ///
  /// `byteCount` is the approximate length of the file. Throws `io`.
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

  /// Whether an earlier run has finished the file, so that it need not be written.
  package func isKept(_ name: String) -> Bool { kept.contains(name) }

  /// Waits until a complete file is on disk, and lists it in the journal.
  ///
  /// Does nothing without a journal. Throws `io`.
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

  /// The temporary path of a file.
  package func path(of name: String) -> FilePath { folder.path.appending(name) }

  /// Waits until all files are on disk under their temporary names.
  ///
  /// Throws `io`.
  package func synchronize() throws(ModelError) {
    for file in files.withLock({ $0 }) { try file.synchronize() }
    try journal?.remove()
    try FileSystem.synchronizeFolder(folder.path)
  }

  /// Renames every file into place; call `synchronize()` first.
  ///
  /// If the result is an existing folder, its other files are linked into the new folder, and the
  /// two folders are exchanged atomically. Where the system cannot do that, the files are renamed
  /// one by one: guards are removed from the old folder first, and renamed into place last. Without
  /// the guards no reader accepts the other files as a model.
  ///
  /// - Parameters:
  ///   - guards: The files that mark the others as complete.
  ///   - isStale: Whether the new files make another file of an existing folder obsolete.
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

  /// Links `others` of the old folder into the new one, and exchanges the two folders atomically.
  ///
  /// Returns false, without a change, if the system or the file system cannot do that, or if the
  /// old folder is a link or holds anything but files. Throws `io`.
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
