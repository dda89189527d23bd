internal import CFiles
package import SystemPackage
internal import TensorModel

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

// Paths are handed to the system as strings that end with a zero, which it reads, and structures of
// its own, which it fills, during the call only.

/// Questions to, and changes of, folders.
package enum FileSystem {
  /// What is at a path.
  package enum Kind: Sendable {
    case file
    case folder
    case other
  }

  /// What is at a path, following links: nil when there is nothing.
  package static func kind(of path: FilePath) -> Kind? {
    var status = stat()
    guard unsafe path.withPlatformString({ unsafe stat($0, &status) }) == 0 else { return nil }
    switch status.st_mode & S_IFMT {
    case S_IFREG: return .file
    case S_IFDIR: return .folder
    default: return .other
    }
  }

  /// How many bytes can be written to the disk that a folder is on; nil when the system does not tell.
  package static func freeByteCount(of folder: FilePath) -> Int? {
    var status = statvfs()
    guard unsafe folder.withPlatformString({ unsafe statvfs($0, &status) }) == 0 else { return nil }
    let (product, overflow) = Int(clamping: status.f_bavail).multipliedReportingOverflow(
      by: Int(clamping: status.f_frsize))
    return overflow ? Int.max : product
  }

  /// Whether there is a link at a path, wherever it leads.
  static func isLink(_ path: FilePath) -> Bool {
    var status = stat()
    return unsafe path.withPlatformString({ unsafe lstat($0, &status) }) == 0
      && status.st_mode & S_IFMT == S_IFLNK
  }

  /// Whether two paths lead to the same file, through whatever links.
  package static func isSame(_ left: FilePath, _ right: FilePath) -> Bool {
    var first = stat()
    var second = stat()
    return unsafe left.withPlatformString({ unsafe stat($0, &first) }) == 0
      && right.withPlatformString({ unsafe stat($0, &second) }) == 0
      && first.st_dev == second.st_dev && first.st_ino == second.st_ino
  }

  /// The names of the entries of a folder in byte order; none when it cannot be read.
  package static func names(in folder: FilePath) -> [String] {
    guard let stream = unsafe folder.withPlatformString({ unsafe opendir($0) }) else { return [] }
    // An entry, with its name and a zero behind that, is there until the next one is read.
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

  static func removeFile(_ path: FilePath) throws(ModelError) {
    guard unsafe path.withPlatformString({ unsafe unlink($0) }) == 0 else {
      throw .system("remove", path.string)
    }
  }

  /// Removes a folder and the files in it, as far as possible.
  static func removeFolder(_ path: FilePath) {
    for name in names(in: path) {
      _ = unsafe path.appending(name).withPlatformString { unsafe unlink($0) }
    }
    _ = unsafe path.withPlatformString { unsafe rmdir($0) }
  }

  /// Lets two folders change places, all at once; false where the system cannot.
  static func exchange(_ path: FilePath, with other: FilePath) -> Bool {
    unsafe path.withPlatformString { first in
      unsafe other.withPlatformString { unsafe pleat_exchange(first, $0) == 0 }
    }
  }

  /// Gives a file a second name; false where the system cannot.
  static func link(_ path: FilePath, to other: FilePath) -> Bool {
    unsafe path.withPlatformString { first in
      unsafe other.withPlatformString { unsafe linkat(AT_FDCWD, first, AT_FDCWD, $0, 0) == 0 }
    }
  }

  /// Makes the names in a folder durable.
  ///
  /// Throws `io`; a system that cannot do it for folders is not asked for more.
  static func synchronizeFolder(_ path: FilePath) throws(ModelError) {
    let descriptor = unsafe path.withPlatformString { unsafe open($0, O_RDONLY | O_CLOEXEC) }
    guard descriptor >= 0 else { throw .system("open the folder", path.string) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP else {
      throw .system("synchronize the folder", path.string)
    }
  }

  /// Whether a name fits a shell pattern (`*`, `?`, `[…]`); `*` also matches dots and slashes.
  package static func matches(_ name: String, glob: String) -> Bool {
    unsafe fnmatch(glob, name, 0) == 0
  }
}

extension FilePath {
  /// A path in the same folder.
  package func sibling(_ name: String) -> FilePath { removingLastComponent().appending(name) }

  /// The folder that holds it; the working folder for a bare name.
  package var parentFolder: FilePath {
    let parent = removingLastComponent()
    return parent.isEmpty ? "." : parent
  }
}
