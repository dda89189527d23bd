internal import Synchronization
package import SystemPackage
package import TensorModel

/// Writes output files under temporary names, and renames them into place together.
///
/// Files of a folder may be in sub-folders, with names such as `sub/file`. If it is released before
/// `publish`, it removes everything that it made, unless complete files are kept for a later run.
package final class Staging: Sendable {
  /// The path of the result: a file, or a folder of files.
  package let destination: FilePath
  let folder: StagingFolder
  let isFolder: Bool
  private let files: Mutex<[File]> = Mutex([])
  private let journal: StagingJournal?
  private let kept: [String]
  private let keepsFinished: Bool

  /// A file of the result.
  private struct File {
    var name: String
    var output: OutputFile
  }

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
    try Self.check(destination, isFolder: isFolder, names: names, replacing: replacing)
    folder = try StagingFolder(for: destination)
    keepsFinished = resumption?.isWanted ?? false
    var entries: [FinishedFile] = []
    let (path, title) = (
      folder.path.appending("journal"), "pleat staging 2 \(resumption?.key ?? "")"
    )
    if let resumption, resumption.isWanted {
      // What cannot be read is written again.
      let lines = (try? StagingJournal.lines(at: path, title: title)) ?? []
      entries = try Self.whole(lines.compactMap(FinishedFile.init(line:)), in: folder.path)
    }
    let kept = entries.map(\.name)
    self.kept = kept
    if !kept.isEmpty { folder.stay() }
    for name in FileSystem.names(in: folder.path) where !kept.contains(name) {
      try Self.remove(folder.path.appending(name))
    }
    journal =
      resumption == nil
      ? nil : try StagingJournal(at: path, title: title, lines: entries.map(\.line))
  }

  /// Takes over the folder in which parts have written files of `destination`.
  ///
  /// The folder stays if this object is released. `filled` are the names of the files that the
  /// parts have written; all other files in the folder are removed.
  ///
  /// Throws `io`; `usage` if the result exists and must not be replaced, or if another process
  /// finishes it.
  package init(
    finishing parts: PartFolder, isFolder: Bool, names: [String], filled: [String],
    replacing: Bool
  ) throws(ModelError) {
    destination = parts.destination
    self.isFolder = isFolder
    try Self.check(destination, isFolder: isFolder, names: names, replacing: replacing)
    folder = try StagingFolder(for: destination, at: parts.output)
    folder.stay()
    keepsFinished = true
    kept = filled
    journal = nil
    for name in FileSystem.names(in: folder.path) where !filled.contains(name) {
      try Self.remove(folder.path.appending(name))
    }
  }

  /// Throws `usage` if the result cannot be written, and `io` if its folder does not exist.
  private static func check(
    _ destination: FilePath, isFolder: Bool, names: [String], replacing: Bool
  ) throws(ModelError) {
    try checkFolder(of: destination)
    for path in isFolder ? [destination] : names.map(destination.sibling) {
      try check(path, isFolder: isFolder, replacing: replacing)
    }
    if isFolder { try checkSubfolders(of: names, in: destination) }
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
    _ entries: [FinishedFile], in folder: FilePath
  ) throws(ModelError) -> [FinishedFile] {
    var whole: [FinishedFile] = []
    for entry in entries where FileSystem.kind(of: folder.appending(entry.name)) == .file {
      let file = try InputFile(folder.appending(entry.name))
      guard file.byteCount == entry.byteCount, try file.checksum() == entry.checksum else {
        continue
      }
      whole.append(entry)
    }
    return whole
  }

  /// Throws `io` if the folder that a result is written to does not exist.
  package static func checkFolder(of path: FilePath) throws(ModelError) {
    let parent = path.parentFolder
    guard FileSystem.kind(of: parent) == .folder else {
      throw ModelError(
        .io, "the folder to write to does not exist", file: parent.string,
        hint: "make it first: mkdir -p \(parent.string)")
    }
  }

  /// Throws `usage` if a result cannot get its path.
  ///
  /// Without `replacing`, nothing at a final path is replaced, but an empty folder may be filled. A
  /// file never replaces a folder, nor a folder a file.
  package static func check(
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

  /// Throws `usage` if a sub-folder would replace something else, or if it is a link.
  private static func checkSubfolders(
    of names: [String], in folder: FilePath
  ) throws(ModelError) {
    for subfolder in subfolders(of: names) {
      let path = folder.appending(subfolder)
      let kind = FileSystem.kind(of: path)
      guard FileSystem.isLink(path) || kind != nil && kind != .folder else { continue }
      throw ModelError(
        .usage, "something else exists at the path of an output folder", file: path.string,
        expected: "a folder", found: FileSystem.isLink(path) ? "a link" : kind?.description,
        hint: "remove it, or write to another path")
    }
  }

  /// The sub-folders of files with these names, in byte order.
  static func subfolders(of names: [String]) -> [String] {
    // Bytes, not characters, are separated: a slash may be a part of a character.
    Set(
      names.compactMap { name in
        name.utf8.firstIndex(of: UInt8(ascii: "/")).map { String(name[..<$0]) }
      }
    ).sorted()
  }

  /// Removes what an earlier run left.
  ///
  /// Throws `io`.
  private static func remove(_ path: FilePath) throws(ModelError) {
    if FileSystem.kind(of: path) == .folder, !FileSystem.isLink(path) {
      FileSystem.removeFolder(path)
    } else {
      try FileSystem.removeFile(path)
    }
  }

  /// Creates the file `name` of the result, or opens the one that an earlier run finished.
  ///
  /// `byteCount` is the approximate length of the file. Throws `io`.
  package func create(
    _ name: String, byteCount: Int = 0
  ) throws(ModelError) -> OutputFile {
    let path = path(of: name)
    for subfolder in Self.subfolders(of: [name]) {
      try FileSystem.makeFolder(self.path(of: subfolder))
    }
    let file =
      isKept(name)
      ? try OutputFile(finished: path)
      : try OutputFile(creating: path, byteCount: byteCount, remembers: journal != nil)
    files.withLock { $0.append(File(name: name, output: file)) }
    return file
  }

  /// Whether the file is there already: an earlier run has finished it, or parts have filled it.
  package func isKept(_ name: String) -> Bool { kept.contains(name) }

  /// Waits until a complete file is on disk, and lists it in the journal.
  ///
  /// Does nothing without a journal. Throws `io`.
  package func finish(_ file: OutputFile) throws(ModelError) {
    guard let journal else { return }
    try file.synchronize()
    let written = try file.written()
    let finished = FinishedFile(
      name: written.path.lastComponent?.string ?? "", byteCount: written.byteCount,
      checksum: try written.checksum())
    try journal.add([finished.line])
    if keepsFinished { folder.stay() }
  }

  /// The temporary path of a file.
  package func path(of name: String) -> FilePath { folder.path.appending(name) }

  /// Waits until all files are on disk under their temporary names.
  ///
  /// Throws `io`.
  package func synchronize() throws(ModelError) {
    for file in files.withLock({ $0 }) { try file.output.synchronize() }
    try journal?.remove()
    try synchronizeFolders(in: folder.path)
  }

  /// The names of the files that were created.
  var names: [String] { files.withLock { $0.map(\.name) } }

  /// Makes the names in a folder and in its sub-folders durable.
  ///
  /// Throws `io`.
  func synchronizeFolders(in folder: FilePath) throws(ModelError) {
    for subfolder in Self.subfolders(of: names) {
      try FileSystem.synchronizeFolder(folder.appending(subfolder))
    }
    try FileSystem.synchronizeFolder(folder)
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
