internal import Synchronization
package import SystemPackage
package import TensorModel

/// Output files under temporary names beside their final ones; they get those all at once, or never.
///
/// Dropped unfinished, it removes everything it made.
package final class Staging: Sendable {
  /// Where the result will be: a file, or a folder of files.
  package let destination: FilePath
  private let folder: FilePath
  private let isFolder: Bool
  private let files: Mutex<[OutputFile]> = Mutex([])
  private let isFinished = Atomic(false)

  /// A place for the parts of `destination`.
  ///
  /// - Parameters:
  ///   - destination: The file or folder that the result will be.
  ///   - isFolder: Whether the result is a folder of several files.
  ///   - names: The names that the files will have.
  ///   - replacing: Whether existing files are replaced.
  /// - Throws: `io`; `usage` when the result exists and may not be replaced.
  package init(
    _ destination: FilePath, isFolder: Bool, names: [String], replacing: Bool
  ) throws(ModelError) {
    self.destination = destination
    self.isFolder = isFolder
    let parent = destination.parentFolder
    guard FileSystem.kind(of: parent) == .folder else {
      throw ModelError(
        .io, "the folder to write to does not exist", file: parent.string,
        hint: "make it first: mkdir -p \(parent.string)")
    }
    let name = destination.lastComponent?.string ?? "output"
    for path in isFolder ? [destination] : names.map(destination.sibling) {
      try Self.check(path, isFolder: isFolder, replacing: replacing)
    }
    folder = destination.sibling(".\(name).partial-\(UInt32.random(in: 0 ... .max))")
    try FileSystem.makeFolder(folder)
  }

  deinit {
    if !isFinished.load(ordering: .relaxed) { FileSystem.removeFolder(folder) }
  }

  // What is at a final path may not be replaced unasked, nor by something of another kind; an empty
  // folder may be filled.
  private static func check(
    _ path: FilePath, isFolder: Bool, replacing: Bool
  ) throws(ModelError) {
    guard let kind = FileSystem.kind(of: path) else { return }
    guard (kind == .folder) == isFolder else {
      throw ModelError(
        .usage, "the output is in the way of something else", file: path.string,
        expected: isFolder ? "a folder" : "a file", found: kind == .folder ? "a folder" : "a file",
        hint: "write to another path")
    }
    guard replacing || isFolder && FileSystem.names(in: path).isEmpty else {
      throw ModelError(
        .usage, "the output exists", file: path.string, hint: "pass --force to replace it")
    }
  }

  /// Begins a file that will have `name` in the folder of the result.
  ///
  /// Throws `io`.
  package func create(_ name: String) throws(ModelError) -> OutputFile {
    let file = try OutputFile(creating: folder.appending(name))
    files.withLock { $0.append(file) }
    return file
  }

  /// Gives every file its final name, in order of creation.
  ///
  /// - Parameter isStale: Which other files of an existing folder the new ones make meaningless.
  /// - Throws: `io`.
  package func finish(removing isStale: (String) -> Bool = { _ in false }) throws(ModelError) {
    let created = files.withLock { $0 }
    for file in created { try file.synchronize() }
    if isFolder && FileSystem.kind(of: destination) == nil {
      try FileSystem.rename(folder, to: destination)
    } else {
      try moveFiles(created, removing: isStale)
    }
    isFinished.store(true, ordering: .relaxed)
    FileSystem.synchronizeFolder(destination.parentFolder)
  }

  private func moveFiles(
    _ created: [OutputFile], removing isStale: (String) -> Bool
  ) throws(ModelError) {
    let names = created.compactMap { $0.path.lastComponent?.string }
    if isFolder {
      for name in FileSystem.names(in: destination) where isStale(name) && !names.contains(name) {
        try FileSystem.removeFile(destination.appending(name))
      }
    }
    for name in names {
      let target = isFolder ? destination.appending(name) : destination.sibling(name)
      try FileSystem.rename(folder.appending(name), to: target)
    }
    FileSystem.removeFolder(folder)
    if isFolder { FileSystem.synchronizeFolder(destination) }
  }
}
