internal import Foundation

/// The files in the folder `fixtures`, located relative to this source file.
package enum Fixtures {
  /// The path of the repository.
  package static let repository: String =
    "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

  /// The path of a fixture, such as `golden/gguf/types.gguf`.
  package static func path(_ name: String) -> String { repository + "/fixtures/" + name }

  /// The bytes of a fixture.
  package static func bytes(_ name: String) throws -> [UInt8] {
    try Files.bytes(of: path(name))
  }

  /// The names of the files in a folder that end in `suffix`, without the suffix, in byte order.
  ///
  /// The result is empty if the folder cannot be read, since test arguments cannot throw.
  package static func names(in folder: String, suffix: String) -> [String] {
    let names = (try? Files.names(in: path(folder))) ?? []
    return names.filter { $0.hasSuffix(suffix) }.map { String($0.dropLast(suffix.count)) }
  }

  /// Whether a fixture is a folder.
  package static func isFolder(_ name: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path(name), isDirectory: &isFolder)
      && isFolder.boolValue
  }
}
