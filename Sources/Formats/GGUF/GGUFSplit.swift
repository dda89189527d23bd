internal import Bytes
internal import SystemPackage
internal import TensorModel

/// A model that is split into several GGUF files, with llama.cpp's names and metadata keys.
struct GGUFSplit {
  static let numberKey = "split.no"
  static let countKey = "split.count"
  static let tensorCountKey = "split.tensors.count"
  static let keys = [numberKey, countKey, tensorCountKey]

  /// The files of the set that a file belongs to; only that file if it is not part of a set.
  ///
  /// Throws `malformed` if the metadata and the file name disagree, `io` if a file is missing, and
  /// `limit` for too many files.
  static func files(
    of path: FilePath, _ header: GGUFHeader, limits: ReadLimits
  ) throws(ModelError) -> [FilePath] {
    guard let count = header.metadata[countKey]?.integer, count > 1 else { return [path] }
    guard count <= limits.shardCount else {
      throw ModelError(
        .limit, "too many files in the split set", file: path.string,
        expected: "at most \(limits.shardCount)", found: "\(count)")
    }
    guard let number = header.metadata[numberKey]?.integer, (0..<count).contains(number) else {
      throw ModelError(
        .malformed, "the file's number in the split model is invalid", file: path.string,
        tensor: numberKey, expected: "0…\(count - 1)",
        found: header.metadata[numberKey]?.integer.map(String.init) ?? "nothing")
    }
    let ending = ShardName.ending(number, of: count, suffix: "gguf")
    guard path.name.hasSuffix(ending) else {
      throw ModelError(
        .malformed, "the file is part of a split model, but its name does not match",
        file: path.string, expected: "a name ending in \(ending)", found: path.name)
    }
    let prefix = String(path.name.dropLast(ending.count))
    let folder = path.parentFolder
    let paths = (0..<count).map {
      folder.appending(ShardName.name(prefix, $0, of: count, suffix: "gguf"))
    }
    for path in paths where FileSystem.kind(of: path) == nil {
      throw ModelError(
        .io, "a file of the split model is missing", file: path.string,
        expected: "\(count) files", hint: "download all files of the set into one folder")
    }
    return paths
  }

  /// Throws `mismatch` unless the headers, in order, make up one model.
  static func check(_ headers: [GGUFHeader], _ paths: [FilePath]) throws(ModelError) {
    guard headers.count > 1 else { return }
    let total = headers.reduce(0) { $0 + $1.entries.count }
    for (index, header) in headers.enumerated() {
      let expected = [
        (numberKey, index), (countKey, headers.count), (tensorCountKey, total),
      ]
      for (key, value) in expected {
        guard header.metadata[key]?.integer == value else {
          throw ModelError(
            .mismatch, "the files of the split model do not belong together",
            file: paths[index].string, tensor: key, expected: "\(value)",
            found: header.metadata[key]?.integer.map(String.init) ?? "nothing")
        }
      }
    }
  }
}
