internal import Foundation

/// A new temporary folder, which is removed with its contents when the object is released.
///
/// Keep it in a property of the suite. A local constant may be released before the last use of its
/// files.
package final class Scratch: Sendable {
  /// The path of the folder.
  package let folder: String

  /// Creates an empty folder.
  package init() throws {
    let url = FileManager.default.temporaryDirectory
      .appendingPathComponent("pleat-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false)
    folder = url.path
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  /// The path of a name in the folder.
  package func path(_ name: String) -> String { folder + "/" + name }

  /// Writes a file, and creates its parent folders.
  ///
  /// Returns its path.
  @discardableResult
  package func write(_ bytes: [UInt8], as name: String) throws -> String {
    let url = URL(fileURLWithPath: path(name))
    try FileManager.default.createDirectory(
      at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: url)
    return url.path
  }

  /// Writes a text file.
  ///
  /// Returns its path.
  @discardableResult
  package func write(_ text: String, as name: String) throws -> String {
    try write(Array(text.utf8), as: name)
  }

  /// Creates a folder.
  ///
  /// Returns its path.
  @discardableResult
  package func makeFolder(_ name: String) throws -> String {
    try FileManager.default.createDirectory(
      atPath: path(name), withIntermediateDirectories: true)
    return path(name)
  }

  /// Removes a file or a folder.
  package func remove(_ name: String) throws {
    try FileManager.default.removeItem(atPath: path(name))
  }

  /// Creates a symbolic link to a path.
  ///
  /// Returns the path of the link.
  @discardableResult
  package func link(_ name: String, to destination: String) throws -> String {
    try FileManager.default.createSymbolicLink(
      atPath: path(name), withDestinationPath: destination)
    return path(name)
  }

  /// The bytes of a file in the folder.
  package func bytes(of name: String) throws -> [UInt8] { try Files.bytes(of: path(name)) }

  /// The names in the folder or one of its subfolders, including hidden ones, in byte order.
  package func names(in name: String = "") throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: path(name)).sorted()
  }
}

/// Access to whole files, for tests that compare them.
package enum Files {
  /// The bytes of a file.
  package static func bytes(of path: String) throws -> [UInt8] {
    Array(try Data(contentsOf: URL(fileURLWithPath: path)))
  }

  /// The names of the files in a folder, in byte order.
  package static func names(in folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
  }

  /// The part of a path after the last dot.
  package static func suffix(of path: String) -> String {
    path.split(separator: ".").last.map(String.init) ?? ""
  }

  /// The length of a file in bytes.
  package static func byteCount(of path: String) throws -> Int {
    try bytes(of: path).count
  }
}
