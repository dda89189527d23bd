package import SystemPackage
package import TensorModel

extension InputFile {
  /// All bytes of a file that is read at once, as those beside the weights are.
  ///
  /// Throws `io`, and `limit` if it is larger than `limit`, which is usually that of a header.
  package static func contents(
    of path: FilePath, limit: Int = ReadLimits().headerByteCount
  ) throws(ModelError) -> [UInt8] {
    let file = try InputFile(path)
    guard file.byteCount <= limit else {
      throw ModelError(
        .limit, "the file is too large", file: path.string, expected: "at most \(limit) bytes",
        found: "\(file.byteCount)")
    }
    return try file.bytes(at: 0, count: file.byteCount)
  }
}
