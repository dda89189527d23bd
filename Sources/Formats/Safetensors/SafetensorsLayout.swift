internal import Bytes
internal import SystemPackage
internal import TensorModel

/// The plan of a checkpoint to write: one file, or a folder of one or several shards.
///
/// Within a file, tensors are ordered by descending type and ascending name, as in the reference
/// writer. So all tensors are aligned, and the bytes are those that the reference writer writes.
struct SafetensorsLayout: OutputLayout {
  /// One file to write.
  struct File {
    var name: String
    var header: [UInt8]
    var tensors: [StoredTensor]
    var byteCount: Int
  }

  let contents: Contents
  let options: WriteOptions
  let isFolder: Bool
  let companions: [Companion]
  private(set) var files: [File] = []
  private(set) var locations: [ShardFiles.Location]
  private(set) var index: [UInt8] = []

  var shardCount: Int { files.count }
  var isExact: Bool { true }
  var holdsCompanions: Bool { isFolder }
  var folder: FilePath? { isFolder ? options.path : nil }
  static let indexName = "model.safetensors.index.json"

  init(_ contents: Contents, _ options: WriteOptions) {
    self.contents = contents
    self.options = options
    isFolder = options.path.extension != "safetensors"
    companions = isFolder ? contents.companions : []
    locations = Array(
      repeating: ShardFiles.Location(file: 0, offset: 0), count: contents.stored.count)
    let shards = Self.shards(contents.stored, limit: isFolder ? options.shardByteCount : nil)
    for (number, members) in shards.enumerated() {
      addFile(
        name: isFolder ? shardName(number, of: shards.count) : options.path.name,
        members: Self.sorted(members, of: contents.stored), Self.sortedPairs(contents.metadata))
    }
    if files.count > 1 {
      let map = Dictionary(uniqueKeysWithValues: files.map { ($0.name, $0.tensors) })
      index = SafetensorsIndex.text(shards: map)
    }
  }

  /// Plans a copy of the files of a model, with other metadata in each of them.
  ///
  /// Throws `unsupported` for the folder of an adapter, `usage` for a path that does not suit the
  /// files, and `io`.
  init(
    copying reader: SafetensorsReader, _ options: WriteOptions,
    changing change: (Metadata) -> Metadata
  ) throws(ModelError) {
    isFolder = reader.origin.isFolder
    try Self.check(options.path, for: reader.origin)
    contents = Contents(
      stored: reader.stored, metadata: change(reader.metadata), companions: reader.companions,
      provenance: Provenance())
    self.options = options
    companions = isFolder ? reader.companions : []
    locations = Array(
      repeating: ShardFiles.Location(file: 0, offset: 0), count: contents.stored.count)
    for (number, members) in reader.tensorsByFile.enumerated() {
      addFile(
        name: isFolder ? reader.files[number].path.name : options.path.name, members: members,
        Self.pairs(change(reader.fileMetadata[number])))
    }
    if let path = reader.origin.index?.path {
      let file = try InputFile(path)
      index = try file.bytes(at: 0, count: file.byteCount)
    }
  }

  /// Throws `usage` unless a copy of a file is a file, and a copy of a folder is a folder.
  private static func check(_ path: FilePath, for files: ModelFiles) throws(ModelError) {
    if files.isFolder, files.isAdapter {
      throw ModelError(
        .unsupported, "the metadata of an adapter folder cannot be changed",
        file: files.path.string, hint: "pass the path of \(files.files[0].name)")
    }
    guard files.isFolder != (path.extension == "safetensors") else {
      throw ModelError(
        .usage, "the output is a copy of a \(files.isFolder ? "folder" : "file")",
        expected: files.isFolder ? "-o folder/" : "a name ending in .safetensors",
        found: path.string)
    }
  }

  var tensorByteCount: Int { files.flatMap(\.tensors).reduce(0) { $0 + $1.byteCount } }

  var byteCount: Int {
    files.reduce(index.count) { $0 + $1.byteCount } + companions.reduce(0) { $0 + $1.byteCount }
  }

  var fileNames: [String] {
    files.map(\.name) + companions.map(\.name) + (index.isEmpty ? [] : [Self.indexName])
  }

  var fileHeaders: [(name: String, bytes: [UInt8])] {
    files.map { ($0.name, $0.header) } + (index.isEmpty ? [] : [(Self.indexName, index)])
  }

  func open(
    replacing: Bool, resumption: Staging.Resumption?
  ) throws(ModelError) -> any TensorSink {
    try SafetensorsWriter(
      self, replacing: replacing, resumption: files.count > 1 ? resumption : nil)
  }

  /// What `ShardFiles` needs to know of each file.
  var plans: [ShardFiles.Plan] {
    files.map { .init(name: $0.name, header: $0.header, byteCount: $0.byteCount) }
  }

  var placement: FilePlacement? { FilePlacement(plans, locations) }

  func finish(
    _ parts: PartFolder, knowing pieces: ChecksumPieces, replacing: Bool
  ) throws(ModelError) -> any TensorSink {
    try SafetensorsWriter(self, finishing: parts, replacing: replacing)
  }

  /// Distributes the tensors, in order, over files of at most `limit` bytes.
  ///
  /// A larger tensor gets a file of its own.
  private static func shards(_ stored: [StoredTensor], limit: Int?) -> [[Int]] {
    var shards: [[Int]] = [[]]
    var size = 0
    for (index, tensor) in stored.enumerated() {
      if let limit, size + tensor.byteCount > limit, !shards[shards.count - 1].isEmpty {
        shards.append([])
        size = 0
      }
      shards[shards.count - 1].append(index)
      size += tensor.byteCount
    }
    return shards
  }

  private func shardName(_ index: Int, of count: Int) -> String {
    count == 1
      ? "\(options.stem).safetensors"
      : ShardName.name(options.stem, index, of: count, suffix: "safetensors")
  }

  /// The positions of tensors in the order of the reference writer.
  private static func sorted(_ members: [Int], of stored: [StoredTensor]) -> [Int] {
    let order = ScalarType.allCases
    func rank(_ tensor: StoredTensor) -> Int {
      if case .plain(let type) = tensor.encoding { order.firstIndex(of: type) ?? 0 } else { 0 }
    }
    return members.sorted {
      let (left, right) = (stored[$0], stored[$1])
      let (leftRank, rightRank) = (rank(left), rank(right))
      return leftRank != rightRank
        ? leftRank > rightRank
        : left.name.utf8.lexicographicallyPrecedes(right.name.utf8)
    }
  }

  /// Appends a file with tensors in the given order, and these pairs as metadata.
  private mutating func addFile(name: String, members: [Int], _ pairs: [JSONValue.Member]) {
    let tensors = members.map { contents.stored[$0] }
    let header = Self.header(tensors, pairs)
    var offset = header.count
    for (index, tensor) in zip(members, tensors) {
      locations[index] = ShardFiles.Location(file: files.count, offset: offset)
      offset += tensor.byteCount
    }
    files.append(File(name: name, header: header, tensors: tensors, byteCount: offset))
  }

  /// The header: its length, the JSON text, and spaces up to a multiple of eight bytes.
  static func header(_ tensors: [StoredTensor], _ pairs: [JSONValue.Member]) -> [UInt8] {
    var json = JSONWriter()
    json.write(literal: "{")
    if !pairs.isEmpty {
      json.write(literal: "\"__metadata__\":")
      json.write(.object(pairs))
    }
    var (offset, isFirst) = (0, pairs.isEmpty)
    for tensor in tensors {
      guard case .plain(let type) = tensor.encoding else { continue }
      let entry: JSONValue = [
        "dtype": .string(type.name),
        "shape": .array(tensor.shape.dimensions.map { JSONValue($0) }),
        "data_offsets": [JSONValue(offset), JSONValue(offset + tensor.byteCount)],
      ]
      if !isFirst { json.write(literal: ",") }
      isFirst = false
      json.write(string: tensor.name)
      json.write(literal: ":")
      json.write(entry)
      offset += tensor.byteCount
    }
    json.write(literal: "}")
    var text = json.bytes
    while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
    var bytes: [UInt8] = []
    bytes.append(littleEndian: UInt64(text.count))
    return bytes + text
  }

  /// The text entries of the metadata, in their order.
  private static func pairs(_ metadata: Metadata) -> [JSONValue.Member] {
    metadata.entries.compactMap { entry in
      entry.value.text.map { .init(entry.key, .string($0)) }
    }
  }

  /// The text entries of the metadata, sorted by key.
  ///
  /// `format` is always written, because older readers refuse files without it.
  private static func sortedPairs(_ metadata: Metadata) -> [JSONValue.Member] {
    let isMLX = metadata["format"]?.text == "mlx"
    let format = JSONValue.Member("format", isMLX ? "mlx" : "pt")
    return ([format] + pairs(metadata).filter { $0.key != "format" }).sorted { $0.key < $1.key }
  }
}
