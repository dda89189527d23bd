internal import CFiles
package import SystemPackage
package import TensorModel

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

// Safety, for all system calls below: the system reads zero-terminated paths and fills its own
// structures during the call only.

/// Queries and changes of files and folders.
package enum FileSystem {
  /// The kind of thing that exists at a path.
  package enum Kind: Sendable {
    case file
    case folder
    case other
  }

  /// The kind of thing at a path, following links; nil if nothing exists there.
  package static func kind(of path: FilePath) -> Kind? {
    var status = stat()
    guard unsafe path.withPlatformString({ unsafe stat($0, &status) }) == 0 else { return nil }
    switch status.st_mode & S_IFMT {
    case S_IFREG: return .file
    case S_IFDIR: return .folder
    default: return .other
    }
  }

  /// The free space on the disk of a folder in bytes; nil if the system does not report it.
  package static func freeByteCount(of folder: FilePath) -> Int? {
    var status = statvfs()
    guard unsafe folder.withPlatformString({ unsafe statvfs($0, &status) }) == 0 else { return nil }
    let (product, overflow) = Int(clamping: status.f_bavail).multipliedReportingOverflow(
      by: Int(clamping: status.f_frsize))
    return overflow ? Int.max : product
  }

  /// Whether a path is a symbolic link, even a broken one.
  static func isLink(_ path: FilePath) -> Bool {
    var status = stat()
    return unsafe path.withPlatformString({ unsafe lstat($0, &status) }) == 0
      && status.st_mode & S_IFMT == S_IFLNK
  }

  /// Takes the lock of an open file or folder; false if another process has it.
  ///
  /// Also true where the file system has no locks.
  static func lock(_ descriptor: Int32) -> Bool {
    flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK
  }

  /// The working folder, which relative paths begin at.
  package static var workingFolder: FilePath? {
    // Safety: the system returns zero-terminated memory, which is freed once it was copied.
    guard let text = unsafe getcwd(nil, 0) else { return nil }
    defer { unsafe free(text) }
    return unsafe FilePath(platformString: text)
  }

  /// Makes a folder the working folder of the process.
  ///
  /// Throws `io`.
  package static func enter(_ folder: FilePath) throws(ModelError) {
    guard unsafe folder.withPlatformString({ unsafe chdir($0) }) == 0 else {
      throw .system("enter the folder", folder.string)
    }
  }

  /// Whether two paths lead to the same file, also through links.
  package static func isSame(_ left: FilePath, _ right: FilePath) -> Bool {
    var first = stat()
    var second = stat()
    return unsafe left.withPlatformString({ unsafe stat($0, &first) }) == 0
      && right.withPlatformString({ unsafe stat($0, &second) }) == 0
      && first.st_dev == second.st_dev && first.st_ino == second.st_ino
  }

  /// The names of the entries of a folder, in byte order; none if it cannot be read.
  package static func names(in folder: FilePath) -> [String] {
    guard let stream = unsafe folder.withPlatformString({ unsafe opendir($0) }) else { return [] }
    // Safety: an entry and its zero-terminated name are valid until the next `readdir`.
    defer { unsafe closedir(stream) }
    var names: [String] = []
    while let entry = unsafe readdir(stream) {
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// The names of the files of a folder and of its sub-folders, in byte order.
  ///
  /// A file in a sub-folder has a name such as `sub/file`. Nil if the folder holds anything else: a
  /// device, a link to a folder, or a sub-folder that is empty or contains folders.
  static func files(in folder: FilePath) -> [String]? {
    var files: [String] = []
    for name in names(in: folder) {
      let path = folder.appending(name)
      switch kind(of: path) {
      case .file: files.append(name)
      case .folder where !isLink(path):
        let inner = names(in: path)
        guard !inner.isEmpty, inner.allSatisfy({ kind(of: path.appending($0)) == .file }) else {
          return nil
        }
        files += inner.map { "\(name)/\($0)" }
      default: return nil
      }
    }
    return files
  }

  /// Creates a folder, unless it exists.
  ///
  /// Throws `io`, also if something else or a link is there.
  static func makeFolder(_ path: FilePath) throws(ModelError) {
    guard unsafe path.withPlatformString({ unsafe mkdir($0, 0o755) }) != 0 else { return }
    guard errno == EEXIST, kind(of: path) == .folder, !isLink(path) else {
      throw .system("create the folder", path.string)
    }
  }

  static func rename(_ path: FilePath, to destination: FilePath) throws(ModelError) {
    let status = unsafe path.withPlatformString { old in
      #if canImport(Glibc)
        unsafe destination.withPlatformString { unsafe Glibc.rename(old, $0) }
      #elseif canImport(Musl)
        unsafe destination.withPlatformString { unsafe Musl.rename(old, $0) }
      #else
        unsafe destination.withPlatformString { unsafe Darwin.rename(old, $0) }
      #endif
    }
    guard status == 0 else { throw .system("rename into place", destination.string) }
  }

  /// Removes a file.
  ///
  /// Throws `io`.
  package static func removeFile(_ path: FilePath) throws(ModelError) {
    guard unsafe path.withPlatformString({ unsafe unlink($0) }) == 0 else {
      throw .system("remove", path.string)
    }
  }

  /// Removes a folder, its files and those of its sub-folders, as far as possible.
  ///
  /// Links are removed, not followed. Sub-folders that contain folders stay.
  static func removeFolder(_ path: FilePath) { removeFolder(path, levelCount: 2) }

  private static func removeFolder(_ path: FilePath, levelCount: Int) {
    for name in names(in: path) {
      let entry = path.appending(name)
      let isRemoved = unsafe entry.withPlatformString { unsafe unlink($0) } == 0
      guard !isRemoved, levelCount > 1, !isLink(entry) else { continue }
      removeFolder(entry, levelCount: levelCount - 1)
    }
    _ = unsafe path.withPlatformString { unsafe rmdir($0) }
  }

  /// Exchanges two folders atomically; false where the system cannot.
  static func exchange(_ path: FilePath, with other: FilePath) -> Bool {
    unsafe path.withPlatformString { first in
      unsafe other.withPlatformString { unsafe pleat_exchange(first, $0) == 0 }
    }
  }

  /// Whether the file system of a folder is certainly on this machine only.
  static func isLocal(_ folder: FilePath) -> Bool {
    unsafe folder.withPlatformString { unsafe pleat_is_local($0) != 0 }
  }

  /// Creates a hard link to a file; false where the system cannot.
  static func link(_ path: FilePath, to other: FilePath) -> Bool {
    unsafe path.withPlatformString { first in
      unsafe other.withPlatformString { unsafe linkat(AT_FDCWD, first, AT_FDCWD, $0, 0) == 0 }
    }
  }

  /// Makes the names in a folder durable with `fsync`.
  ///
  /// Does nothing where the system does not support `fsync` for folders. Throws `io`.
  static func synchronizeFolder(_ path: FilePath) throws(ModelError) {
    let descriptor = unsafe path.withPlatformString { unsafe open($0, O_RDONLY | O_CLOEXEC) }
    guard descriptor >= 0 else { throw .system("open the folder", path.string) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP else {
      throw .system("synchronize the folder", path.string)
    }
  }

  /// Whether a name matches a shell pattern (`*`, `?`, `[…]`); `*` also matches dots and slashes.
  package static func matches(_ name: String, glob: String) -> Bool {
    unsafe fnmatch(glob, name, 0) == 0
  }

  /// Whether the name of a tensor matches a shell pattern, which may leave out a final `.weight`.
  package static func matches(weight name: String, glob: String) -> Bool {
    matches(name, glob: glob)
      || name.hasSuffix(".weight") && matches(String(name.dropLast(7)), glob: glob)
  }
}

extension FilePath {
  /// The path of `name` in the same folder.
  package func sibling(_ name: String) -> FilePath { removingLastComponent().appending(name) }

  /// The folder that contains the path; the working folder for a bare name.
  package var parentFolder: FilePath {
    let parent = removingLastComponent()
    return parent.isEmpty ? "." : parent
  }
}
