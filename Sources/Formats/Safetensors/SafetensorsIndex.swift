internal import Bytes
internal import SystemPackage
internal import TensorModel

/// The index of a sharded checkpoint: which file holds which tensor.
struct SafetensorsIndex {
  /// The path of the index.
  let path: FilePath
  /// The file of each tensor.
  let weightMap: [JSONValue.Member]

  /// Reads an index. Throws `malformed`, also for file names that lead out of the folder.
  init(reading path: FilePath) throws(ModelError) {
    self.path = path
    let file = try InputFile(path)
    let document = try JSONParser.parse(
      try file.bytes(at: 0, count: file.byteCount), file: path.string)
    guard let map = document["weight_map"]?.members else {
      throw ModelError(
        .malformed, "the index has no weight_map", file: path.string,
        expected: "an object from tensor names to file names")
    }
    weightMap = map
    for entry in map {
      guard let name = entry.value.string, !name.isEmpty, !name.contains("/"), name != "..",
        !name.utf8.contains(0)
      else {
        throw ModelError(
          .malformed, "the index names a file outside its folder", file: path.string,
          tensor: entry.key, expected: "a file name without folders",
          found: entry.value.string ?? entry.value.kind)
      }
    }
  }

  /// The names of the shards, each once, in byte order.
  var fileNames: [String] { Set(weightMap.compactMap(\.value.string)).sorted() }

  /// Throws `malformed` when a tensor is not in the file that the index names.
  func check(_ names: [String: Set<String>]) throws(ModelError) {
    for entry in weightMap {
      let shard = entry.value.string ?? ""
      guard names[shard]?.contains(entry.key) == true else {
        throw ModelError(
          .malformed, "the index names a tensor that is not in its shard", file: path.string,
          tensor: entry.key, expected: "in \(shard)", found: "absent")
      }
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
