internal import Foundation

/// What a program did.
package struct Outcome: Sendable {
  /// Its exit status; 128 + n for a signal n.
  package var status: Int32
  /// What it wrote to standard output.
  package var output: String
  /// What it wrote to standard error.
  package var errors: String
}

/// Runs programs and waits for them.
package enum Subprocess {
  /// Runs a program found at a path, without input.
  ///
  /// - Parameters:
  ///   - program: The path of the program.
  ///   - arguments: Its arguments.
  ///   - folder: The working folder.
  ///   - environment: Changes of the environment; nil removes a variable.
  /// - Returns: What it did, when it has ended.
  /// - Throws: What Foundation throws when it cannot be started.
  package static func run(
    _ program: String, _ arguments: [String], in folder: String,
    environment: [String: String?] = [:]
  ) throws -> Outcome {
    // Files rather than pipes: nothing has to be read while the program runs.
    let scratch = try Scratch()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.currentDirectoryURL = URL(fileURLWithPath: folder)
    var variables = ProcessInfo.processInfo.environment
    for (name, value) in environment { variables[name] = value }
    process.environment = variables
    let output = try handle(scratch.write([], as: "output"))
    let errors = try handle(scratch.write([], as: "errors"))
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = errors
    try process.run()
    process.waitUntilExit()
    let status = process.terminationStatus
    return Outcome(
      status: process.terminationReason == .exit ? status : 128 + status,
      output: String(decoding: try scratch.bytes(of: "output"), as: UTF8.self),
      errors: String(decoding: try scratch.bytes(of: "errors"), as: UTF8.self))
  }

  private static func handle(_ path: String) throws -> FileHandle {
    try FileHandle(forWritingTo: URL(fileURLWithPath: path))
  }
}

/// SHA-256 hashes, as the MANIFEST and the golden descriptions have them.
package enum SHA256 {
  /// The hash of each of some byte strings, in hexadecimal digits, by the program `sha256sum`.
  package static func hashes(of contents: [[UInt8]]) throws -> [String] {
    guard !contents.isEmpty else { return [] }
    let scratch = try Scratch()
    var names: [String] = []
    for (index, bytes) in contents.enumerated() {
      names.append("\(index)")
      try scratch.write(bytes, as: "\(index)")
    }
    let outcome = try Subprocess.run("/usr/bin/env", ["sha256sum"] + names, in: scratch.folder)
    return outcome.output.split(separator: "\n").map { String($0.prefix(64)) }
  }
}
