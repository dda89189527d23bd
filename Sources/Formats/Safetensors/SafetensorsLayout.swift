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
    var header: SafetensorsHeaderText
    var byteCount: Int
  }

  let contents: Contents
  let options: WriteOptions
  let isFolder: Bool
  let companions: [Companion]
  private(set) var files: [File] = []
  private(set) var offsets: TensorOffsets
  /// The index of the shards; nil for one file.
  private(set) var index: (any HeaderText)?

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
    offsets = TensorOffsets()
    let shards = contents.stored.ranges(limit: isFolder ? options.shardByteCount : nil)
    for (number, members) in shards.enumerated() {
      addFile(
        name: isFolder ? shardName(number, of: shards.count) : options.path.name,
        Self.sorted(members, of: contents.stored), Self.sortedPairs(contents.metadata))
    }
    if files.count > 1 {
      index = SafetensorsIndexText(contents.stored, offsets, files.map(\.name))
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
      stored: StoredTensors(reader.stored), metadata: change(reader.metadata),
      companions: reader.companions, provenance: Provenance())
    self.options = options
    companions = isFolder ? reader.companions : []
    offsets = TensorOffsets()
    for (number, members) in reader.tensorsByFile.enumerated() {
      addFile(
        name: isFolder ? reader.files[number].path.name : options.path.name,
        members.map { Int32($0) }, Self.pairs(change(reader.fileMetadata[number])))
    }
    if let path = reader.origin.index?.path {
      let file = try InputFile(path)
      index = HeaderBytes(bytes: try file.bytes(at: 0, count: file.byteCount))
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

  var tensorByteCount: Int { contents.stored.reduce(0) { $0 + $1.byteCount } }

  var byteCount: Int {
    files.reduce(index?.byteCount ?? 0) { $0 + $1.byteCount }
      + companions.reduce(0) { $0 + $1.byteCount }
  }

  var fileNames: [String] {
    files.map(\.name) + companions.map(\.name) + (index == nil ? [] : [Self.indexName])
  }

  var fileHeaders: [FileHeader] {
    files.map { FileHeader(name: $0.name, text: $0.header) }
      + (index.map { [FileHeader(name: Self.indexName, text: $0)] } ?? [])
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

  var placement: FilePlacement? { FilePlacement(plans, offsets) }

  func finish(
    _ parts: PartFolder, knowing checksums: TensorChecksums, replacing: Bool
  ) throws(ModelError) -> any TensorSink {
    try SafetensorsWriter(self, finishing: parts, replacing: replacing)
  }

  private func shardName(_ index: Int, of count: Int) -> String {
    count == 1
      ? "\(options.stem).safetensors"
      : ShardName.name(options.stem, index, of: count, suffix: "safetensors")
  }

  /// The indices of tensors in the order of the reference writer.
  private static func sorted(_ members: Range<Int>, of stored: StoredTensors) -> [Int32] {
    func type(of index: Int32) -> ScalarType? {
      if case .plain(let type) = stored[Int(index)].encoding { type } else { nil }
    }
    let byName = stored.sortedByName(members)
    var types: Set<ScalarType> = []
    for index in byName { if let type = type(of: index) { types.insert(type) } }
    var indices: [Int32] = []
    indices.reserveCapacity(byName.count)
    for next in ScalarType.allCases.reversed() where types.contains(next) {
      for index in byName where type(of: index) == next { indices.append(index) }
    }
    return indices
  }

  /// Appends a file with tensors in the given order, and these pairs as metadata.
  private mutating func addFile(name: String, _ members: [Int32], _ pairs: [JSONValue.Member]) {
    let header = SafetensorsHeaderText(contents.stored, members, pairs)
    let stored = contents.stored
    let byteCount = offsets.addFile(members.lazy.map { Int($0) }, from: header.byteCount) {
      stored[$0].byteCount
    }
    files.append(File(name: name, header: header, byteCount: byteCount))
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
