internal import Bytes
internal import SystemPackage
internal import TensorModel

/// The index of a sharded checkpoint: which file holds which tensor.
struct SafetensorsIndex: Sendable {
  /// An entry of the weight map.
  struct Entry: Sendable {
    var tensor: String
    var fileName: String
  }

  /// The path of the index.
  let path: FilePath
  /// The file of each tensor.
  private(set) var entries: [Entry] = []

  /// Reads an index.
  ///
  /// Throws `malformed`, also for file names that lead out of the folder.
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
    var found: [Entry]?
    try scanner.object { (scanner, key) throws(ModelError) in
      guard key == "weight_map" else { return try scanner.skip() }
      do throws(ModelError) {
        found = try Self.weightMap(&scanner, path.string)
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
    entries = found
  }

  private static func weightMap(
    _ scanner: inout JSONScanner, _ path: String
  ) throws(ModelError) -> [Entry] {
    var entries: [Entry] = []
    var seen: Set<ExactName> = []
    try scanner.object { (scanner, tensor) throws(ModelError) in
      let name = try scanner.string()
      guard seen.insert(ExactName(tensor)).inserted else {
        throw ModelError(.malformed, "the index has the tensor twice", file: path, tensor: tensor)
      }
      guard !name.isEmpty, !name.contains("/"), name != ".", name != "..", !name.utf8.contains(0)
      else {
        throw ModelError(
          .malformed, "the index names a file outside its folder", file: path, tensor: tensor,
          expected: "a file name without folders", found: name)
      }
      entries.append(Entry(tensor: tensor, fileName: name))
    }
    return entries
  }

  /// The names of the shards, each once, in byte order.
  var fileNames: [String] { Set(entries.map(\.fileName)).sorted() }

  /// Throws `mismatch` when a tensor is not in the file that the index names.
  ///
  /// `files` has the name of the file that each tensor is in.
  func check(_ files: [ExactName: String]) throws(ModelError) {
    for entry in entries where files[ExactName(entry.tensor)] != entry.fileName {
      throw ModelError(
        .mismatch, "the index names a tensor that is not in its shard", file: path.string,
        tensor: entry.tensor, expected: "in \(entry.fileName)", found: "absent")
    }
  }

  /// The text of an index, as transformers writes it: keys sorted, two spaces a level.
  static func text(shards: [String: [StoredTensor]]) -> [UInt8] {
    let total = shards.values.joined().reduce(0) { $0 + $1.byteCount }
    let map = shards.flatMap { name, tensors in
      tensors.map { JSONValue.Member($0.name, .string(name)) }
    }.sorted { $0.key < $1.key }
    let document = JSONValue.object([
      .init("metadata", ["total_size": JSONValue(total)]),
      .init("weight_map", .object(map)),
    ])
    return Array((JSONWriter.text(document, indentation: 2) + "\n").utf8)
  }
}
