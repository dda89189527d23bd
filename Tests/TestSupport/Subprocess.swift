internal import Foundation

/// The result of running a program.
package struct Outcome: Sendable {
  /// The exit status; 128 + n if signal n ended the program.
  package var status: Int32
  /// The text on standard output.
  package var output: String
  /// The text on standard error.
  package var errors: String
}

/// Runs programs and waits for them.
package enum Subprocess {
  /// Runs a program without input, and waits until it ends.
  ///
  /// - Parameters:
  ///   - program: The path of the program.
  ///   - arguments: The arguments of the program.
  ///   - folder: The working folder.
  ///   - environment: Changes to the environment; nil removes a variable.
  /// - Returns: The exit status and the output.
  /// - Throws: Errors of Foundation if the program cannot be started.
  package static func run(
    _ program: String, _ arguments: [String], in folder: String,
    environment: [String: String?] = [:]
  ) throws -> Outcome {
    // Output goes to files and not to pipes, so that nothing must be read while the program runs.
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

/// SHA-256 hashes as in `fixtures/MANIFEST` and the golden descriptions.
package enum SHA256 {
  /// The hash of each byte string in hexadecimal digits, computed by the program `sha256sum`.
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
