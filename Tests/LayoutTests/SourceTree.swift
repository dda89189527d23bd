import Foundation
import TestSupport

/// The sources of the package, as text.
enum SourceTree {
  /// A source file.
  struct File: Sendable, CustomStringConvertible {
    /// The path relative to the repository.
    var path: String
    /// The text.
    var text: String

    var description: String { path }
    /// The target: the folder in `Sources` or `Tests`.
    var target: String { String(path.split(separator: "/")[1]) }
    /// The lines of the text.
    var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }

    /// The imported modules.
    var imports: [String] {
      lines.compactMap { line in
        let words = line.split(separator: " ")
        guard let index = words.firstIndex(of: "import"), index + 1 < words.count,
          words[..<index].allSatisfy({ Self.modifiers.contains($0) })
        else { return nil }
        return String(words[index + 1])
      }
    }

    private static let modifiers: Set<Substring> = [
      "public", "package", "internal", "private", "fileprivate", "@testable", "@_exported",
      "@preconcurrency",
    ]
  }

  /// A folder without any of the files that a test should check.
  struct EmptyFolder: Error {
    /// The path relative to the repository.
    var folder: String
    /// The suffixes that were looked for.
    var suffixes: [String]
  }

  /// The files in a folder and its subfolders whose names end in one of `suffixes`.
  ///
  /// Throws if the folder is missing or has no such file, since a test of no file would pass.
  static func files(in folder: String, _ suffixes: [String]) throws -> [File] {
    let root = Fixtures.repository + "/" + folder
    let paths = try FileManager.default.subpathsOfDirectory(atPath: root).sorted().filter { path in
      suffixes.contains { path.hasSuffix($0) }
    }
    guard !paths.isEmpty else { throw EmptyFolder(folder: folder, suffixes: suffixes) }
    return try paths.map { try file(folder + "/" + $0) }
  }

  private static func file(_ path: String) throws -> File {
    let bytes = try Files.bytes(of: Fixtures.repository + "/" + path)
    return File(path: path, text: String(decoding: bytes, as: UTF8.self))
  }

  /// Whether there is a file or folder at a path relative to the repository.
  static func exists(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: Fixtures.repository + "/" + path)
  }

  /// The Swift files of the package.
  static func swift() throws -> [File] {
    try files(in: "Sources", [".swift"]) + files(in: "Tests", [".swift"])
  }

  /// The modules that each layer may import, from the calls of `layer` in `Package.swift`.
  static func layers() throws -> [String: [String]] {
    let manifest = try file("Package.swift")
    var layers: [String: [String]] = [:]
    // The text from each call of the function to the end of its list.
    for call in manifest.text.components(separatedBy: "layer(").dropFirst() {
      let text = call.prefix { $0 != "]" }.drop { $0 == " " || $0 == "\n" }
      guard text.hasPrefix("\"") else { continue }
      let words = text.split { !($0.isLetter || $0.isNumber || $0 == "-") }.map(String.init)
      layers[words[0]] = words.dropFirst().map { $0 == "system" ? "SystemPackage" : $0 }
    }
    return layers
  }
}
