internal import SystemPackage
package import TensorModel

extension Staging {
  /// Renames every file into place; call `synchronize()` first.
  ///
  /// If the result is an existing folder, its other files are linked into the new folder, and the
  /// two folders are exchanged atomically. Where the system cannot do that, the files are renamed
  /// one by one: guards are removed from the old folder first, and renamed into place last. Without
  /// the guards no reader accepts the other files as a model.
  ///
  /// - Parameters:
  ///   - guards: The files that mark the others as complete.
  ///   - isStale: Whether the new files make another file of an existing folder obsolete. It is not
  ///     asked about files in sub-folders.
  /// - Throws: `io`.
  package func publish(
    guards: [String] = [], removing isStale: (String) -> Bool = { _ in false }
  ) throws(ModelError) {
    let names = names
    if isFolder && FileSystem.kind(of: destination) == nil {
      try FileSystem.rename(folder.path, to: destination)
    } else if isFolder, try adopt(except: names, isStale) {
      FileSystem.removeFolder(folder.path)
    } else {
      let others = isFolder ? FileSystem.names(in: destination).filter { !names.contains($0) } : []
      try move(names, guards: guards, removing: others.filter(isStale))
      FileSystem.removeFolder(folder.path)
    }
    folder.stay()
    try FileSystem.synchronizeFolder(destination.parentFolder)
  }

  /// Links the other files of the old folder into the new one, and exchanges the two atomically.
  ///
  /// Stale files and those with the names of new files are not linked. Returns false, without a
  /// change, if the system or the file system cannot do that, or if the old folder is a link or holds
  /// anything but files and sub-folders of files. Throws `io`.
  private func adopt(
    except names: [String], _ isStale: (String) -> Bool
  ) throws(ModelError) -> Bool {
    guard !FileSystem.isLink(destination), let old = FileSystem.files(in: destination) else {
      return false
    }
    let others = old.filter {
      !names.contains($0) && (Self.subfolders(of: [$0]) != [] || !isStale($0))
    }
    let new = Set(Self.subfolders(of: others)).subtracting(Self.subfolders(of: names))
    for subfolder in new.sorted() { try FileSystem.makeFolder(path(of: subfolder)) }
    if others.allSatisfy({ FileSystem.link(destination.appending($0), to: path(of: $0)) }) {
      for subfolder in new.sorted() { try FileSystem.synchronizeFolder(path(of: subfolder)) }
      try synchronizeFolders(in: folder.path)
      if FileSystem.exchange(folder.path, with: destination) { return true }
    }
    for name in others { try? FileSystem.removeFile(path(of: name)) }
    for subfolder in new { FileSystem.removeFolder(path(of: subfolder)) }
    return false
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
    for subfolder in Self.subfolders(of: isFolder ? names : []) {
      try FileSystem.makeFolder(target.appending(subfolder))
    }
    for name in names where !guards.contains(name) {
      try FileSystem.rename(path(of: name), to: target.appending(name))
    }
    if !guards.isEmpty { try FileSystem.synchronizeFolder(target) }
    for name in names where guards.contains(name) {
      try FileSystem.rename(path(of: name), to: target.appending(name))
    }
    if isFolder { try synchronizeFolders(in: target) }
  }
}
