internal import Bytes
internal import SystemPackage
internal import TensorModel

/// The index of a sharded checkpoint: the file of each tensor.
struct SafetensorsIndex: Sendable {
  /// The path of the index.
  let path: FilePath
  private var tensors: NameList
  private var files: [Int]  // of each tensor: the index in `fileNames`
  /// The names of the shards, each once, sorted.
  let fileNames: [String]

  /// Reads an index.
  ///
  /// Throws `malformed`, which includes file names that lead out of the folder, `limit` and `io`.
  init(reading path: FilePath, limits: ReadLimits = ReadLimits()) throws(ModelError) {
    self.path = path
    let file = try InputFile(path)
    guard file.byteCount <= limits.headerByteCount else {
      throw ModelError(
        .limit, "the index is too large", file: path.string,
        expected: "at most \(limits.headerByteCount) bytes", found: "\(file.byteCount)")
    }
    let text = try file.bytes(at: 0, count: file.byteCount)
    var scanner = try JSONScanner(text, file: path.string, offset: 0, limits: limits)
    var found: WeightMap?
    try scanner.object { (scanner, key) throws(ModelError) in
      guard key == "weight_map" else { return try scanner.skip() }
      do throws(ModelError) {
        found = try WeightMap(&scanner, path.string)
      } catch {
        throw error.located(tensor: "weight_map")
      }
    }
    try scanner.end()
    guard let found else {
      throw ModelError(
        .malformed, "the index has no weight_map", file: path.string,
        expected: "an object from tensor names to file names")
    }
    fileNames = found.fileNames.sorted()
    let indices = Dictionary(uniqueKeysWithValues: zip(fileNames, fileNames.indices))
    let numbers = found.fileNames.map { indices[$0] ?? 0 }
    tensors = found.tensors
    files = found.files.map { numbers[$0] }
  }

  /// Checks that tensors are in the files that the index names.
  ///
  /// - Parameters:
  ///   - stored: The tensors of all files.
  ///   - positions: The index in `stored` of each name.
  ///   - files: The index in `fileNames` of the file of each of them.
  /// - Throws: `mismatch` if one is not.
  func check(
    _ stored: [StoredTensor], at positions: [ExactName: Int], in files: [Int]
  ) throws(ModelError) {
    // Neighbours in the index are usually neighbours in a file, so the next tensor is tried first.
    var next = 0
    for (index, file) in self.files.enumerated() {
      if next == stored.count || !tensors.has(stored[next].name, at: index) {
        next = positions[ExactName(tensors[index])] ?? stored.count
      }
      guard next == stored.count || files[next] != file else {
        next += 1
        continue
      }
      let tensor = tensors[index]
      throw ModelError(
        .mismatch, "the index names a tensor that is not in its shard", file: path.string,
        tensor: tensor, expected: "in \(fileNames[file])", found: "absent")
    }
  }

  /// The same without the names of tensors, once they have been checked.
  var withoutEntries: SafetensorsIndex {
    var index = self
    (index.tensors, index.files) = (NameList(), [])
    return index
  }
}

/// The weight map of an index as it is read; files are numbered in order of appearance.
private struct WeightMap {
  var tensors = NameList()
  var files: [Int] = []  // of each tensor: the index in `fileNames`
  var fileNames: [String] = []

  init(_ scanner: inout JSONScanner, _ path: String) throws(ModelError) {
    var numbers: [String: Int] = [:]
    try scanner.object { (scanner, tensor) throws(ModelError) in
      let name = try scanner.string()
      guard tensors.append(tensor) else {
        throw ModelError(.malformed, "the index has the tensor twice", file: path, tensor: tensor)
      }
      var number = files.last
      // Neighbouring tensors are usually in the same file, so its number is tried first.
      if number.map({ !fileNames[$0].hasSameBytes(as: name) }) ?? true {
        guard !name.isEmpty, !name.utf8.contains(UInt8(ascii: "/")), name != ".", name != "..",
          !name.utf8.contains(0)
        else {
          throw ModelError(
            .malformed, "the index names a file outside its folder", file: path, tensor: tensor,
            expected: "a file name without folders", found: name)
        }
        number = numbers[name]
      }
      if number == nil {
        numbers[name] = fileNames.count
        fileNames.append(name)
      }
      files.append(number ?? fileNames.count - 1)
    }
  }
}
