internal import Bytes
internal import SystemPackage
public import TensorModel

/// The parts of an output that were begun, for the command that finishes it.
public struct BegunParts: Sendable {
  /// The path of the folder that they are in.
  public let path: String
  /// The working folder of the part that came first.
  public let folder: String
  /// The arguments of that part, without its number.
  public let arguments: [String]

  /// Finds the parts of the output at a path; nil if there are none.
  ///
  /// Throws `malformed` and `io`.
  public init?(of output: String) throws(ModelError) {
    let parts = PartFolder(for: FilePath(output))
    parts.removeOld()
    guard let statement = try parts.statement() else { return nil }
    path = (FileSystem.workingFolder ?? "").pushing(parts.path).string
    folder = statement.folder
    arguments = statement.arguments
  }

  /// Whether something exists at the path of an output, or its first file if it is a split set.
  public static func isWritten(_ output: String) -> Bool {
    let path = FilePath(output)
    let stem = (path.extension == "gguf" ? path.stem : path.lastComponent?.string) ?? ""
    return FileSystem.kind(of: path) != nil
      || FileSystem.names(in: path.parentFolder).contains {
        $0.hasPrefix("\(stem)-00001-of-") && $0.hasSuffix(".gguf")
      }
  }

  /// Makes the working folder of the parts that of this process, so that relative paths are theirs.
  ///
  /// Throws `io`.
  public func enter() throws(ModelError) { try FileSystem.enter(FilePath(folder)) }

  /// Throws `mismatch` if the arguments name another output.
  public func check(_ output: String) throws(ModelError) {
    let parts = PartFolder(for: FilePath(output))
    guard !FileSystem.isSame(parts.path, FilePath(path)) else { return }
    throw ModelError(
      .mismatch, "the parts were begun for an output at another path", file: path,
      expected: parts.path.string,
      hint: "finish it where that is its path, or move the folder back")
  }
}
