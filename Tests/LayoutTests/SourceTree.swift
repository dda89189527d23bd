import Foundation
import TestSupport

/// The sources of the package, as text.
enum SourceTree {
  /// A source file.
  struct File: Sendable, CustomStringConvertible {
    /// The path from the folder of the repository.
    var path: String
    /// The text.
    var text: String

    var description: String { path }
    /// The folder below `Sources` or `Tests`: the target.
    var target: String { String(path.split(separator: "/")[1]) }
    /// The lines of the text.
    var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }

    /// The modules that it imports.
    var imports: [String] {
      lines.compactMap { line in
        let words = line.split(separator: " ")
        guard let place = words.firstIndex(of: "import"), place + 1 < words.count,
          words[..<place].allSatisfy({ Self.modifiers.contains($0) })
        else { return nil }
        return String(words[place + 1])
      }
    }

    private static let modifiers: Set<Substring> = [
      "public", "package", "internal", "private", "fileprivate", "@testable", "@_exported",
      "@preconcurrency",
    ]
  }

  /// The files in a folder, and in those below, whose names end in one of `suffixes`.
  static func files(in folder: String, _ suffixes: [String]) -> [File] {
    let root = Fixtures.repository + "/"
    let paths = FileManager.default.enumerator(atPath: root + folder)?.compactMap { $0 as? String }
    return (paths ?? []).sorted().filter { path in
      suffixes.contains { path.hasSuffix($0) }
    }.compactMap { path in
      (try? Files.bytes(of: root + folder + "/" + path)).map {
        File(path: folder + "/" + path, text: String(decoding: $0, as: UTF8.self))
      }
    }
  }

  /// Whether there is a file or folder at a path from the folder of the repository.
  static func exists(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: Fixtures.repository + "/" + path)
  }

  /// The Swift files of the package.
  static let swift = files(in: "Sources", [".swift"]) + files(in: "Tests", [".swift"])

  /// What `Package.swift` lets each layer import, by the calls of `layer`.
  static let layers: [String: [String]] = {
    let manifest = files(in: "", ["Package.swift"]).first { $0.path == "/Package.swift" }
    var layers: [String: [String]] = [:]
    // From each call of the function up to the end of its list, over however many lines.
    for call in (manifest?.text ?? "").components(separatedBy: "layer(").dropFirst() {
      let text = call.prefix { $0 != "]" }.drop { $0 == " " || $0 == "\n" }
      guard text.hasPrefix("\"") else { continue }
      let words = text.split { !($0.isLetter || $0.isNumber || $0 == "-") }.map(String.init)
      layers[words[0]] = words.dropFirst().map { $0 == "system" ? "SystemPackage" : $0 }
    }
    return layers
  }()
}
