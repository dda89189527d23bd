import Foundation
import TestSupport
import Testing

/// A test case: a folder in `cases`.
struct CommandCase: Sendable, CustomTestStringConvertible {
  /// The name of the folder.
  var name: String

  var testDescription: String { name }

  private static let folder = Fixtures.repository + "/Tests/CommandTests/cases"

  /// All cases, in byte order of their names.
  static let all: [CommandCase] =
    ((try? Files.names(in: folder)) ?? []).filter { !$0.hasPrefix(".") }.map {
      CommandCase(name: $0)
    }

  /// Whether results are recorded instead of compared.
  static let isRecording = ProcessInfo.processInfo.environment["PLEAT_RECORD"] == "1"

  /// The folder of the command that was built with these tests.
  static let products: String = {
    let bundle = Bundle.allBundles.first { $0.bundlePath.hasSuffix(".xctest") }
    return bundle?.bundleURL.deletingLastPathComponent().path ?? Bundle.main.bundlePath
  }()

  private func path(_ file: String) -> String { "\(Self.folder)/\(name)/\(file)" }

  /// Whether the folder has a script.
  var hasScript: Bool { FileManager.default.fileExists(atPath: path("cmd")) }

  /// Runs the script and replaces the parts of its output that differ between runs.
  func run() throws -> Outcome {
    let scratch = try Scratch()
    try scratch.link("fixtures", to: Fixtures.path(""))
    let environment = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
    var outcome = try Subprocess.run(
      "/bin/sh", [path("cmd")], in: scratch.folder,
      environment: ["PATH": "\(Self.products):\(environment)", "LC_ALL": "C", "NO_COLOR": nil])
    outcome.output = normalized(outcome.output, scratch)
    outcome.errors = normalized(outcome.errors, scratch)
    return outcome
  }

  private func normalized(_ text: String, _ scratch: Scratch) -> String {
    text.replacingOccurrences(of: scratch.folder, with: "SCRATCH")
      .replacing(/in [0-9]+(\.[0-9]+)? s/, with: "in # s")
      // On a slow machine a command shows its progress.
      .replacing(/(?m)^[a-z]+  [━┄]+  .*\n/, with: "")
  }

  /// The text of `stdout` or `stderr`; empty if there is no such file.
  func expected(_ file: String) throws -> String {
    guard FileManager.default.fileExists(atPath: path(file)) else { return "" }
    return String(decoding: try Files.bytes(of: path(file)), as: UTF8.self)
  }

  /// The exit status in `exit`; 0 if there is no such file.
  func expectedStatus() throws -> Int32 {
    let text = try expected("exit").trimmingCharacters(in: .whitespacesAndNewlines)
    return text.isEmpty ? 0 : try #require(Int32(text), "'exit' of \(name) is not a number")
  }

  /// Records a result; empty outputs and a status of 0 get no file.
  func record(_ outcome: Outcome) throws {
    let files = [
      ("stdout", outcome.output), ("stderr", outcome.errors),
      ("exit", outcome.status == 0 ? "" : "\(outcome.status)\n"),
    ]
    for (file, text) in files {
      if text.isEmpty {
        try? FileManager.default.removeItem(atPath: path(file))
      } else {
        try text.write(toFile: path(file), atomically: true, encoding: .utf8)
      }
    }
  }
}
