internal import Bytes
internal import SystemPackage
internal import TensorModel

extension PartFolder.Statement {
  /// The error for parts that have to be run again, with the command; nil if there are none.
  ///
  /// `what` says what is wrong with them, and `destination` is the path of the output.
  func error(_ parts: [Int], _ what: String, _ destination: FilePath) -> ModelError? {
    guard let first = parts.first else { return nil }
    let numbers = parts.prefix(20).map(String.init).joined(separator: ", ")
    let words = ["pleat"] + arguments + ["--part", "\(first)/\(count)"]
    return ModelError(
      .usage, "parts of the output are \(what)", file: destination.string,
      expected: "\(count) complete parts",
      found: "\(what): \(numbers)\(parts.count > 20 ? " and \(parts.count - 20) more" : "")",
      hint: "run \(parts.count == 1 ? "it" : "each of them") again, in \(folder): "
        + words.map(\.quoted).joined(separator: " "))
  }
}

extension ModelError {
  /// The error for an output of which no part was begun.
  static func noParts(_ destination: FilePath) -> ModelError {
    ModelError(
      .usage, "no part of this output was written", file: destination.string,
      hint: "write them first: --part 1/n to --part n/n")
  }
}

extension String {
  /// The text as one word of a shell.
  fileprivate var quoted: String {
    let plain = utf8.allSatisfy { byte in
      (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
        || "-_./=:,+@%".utf8.contains(byte)
    }
    if plain && !isEmpty { return self }
    return "'"
      + split(separator: "'", omittingEmptySubsequences: false)
      .joined(separator: "'\\''") + "'"
  }
}
