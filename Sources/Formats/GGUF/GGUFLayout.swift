internal import Bytes
internal import SystemPackage
internal import TensorModel

/// The plan of a GGUF model to write: one file, or a split set.
struct GGUFLayout: OutputLayout {
  /// One file to write.
  struct File {
    var name: String
    var header: [UInt8]  // up to the first tensor, padded
    var byteCount: Int
  }

  let contents: Contents
  let options: WriteOptions
  private(set) var files: [File] = []
  private(set) var offsets: TensorOffsets

  let tensorByteCount: Int
  var shardCount: Int { files.count }
  var isExact: Bool { true }
  var holdsCompanions: Bool { false }
  var folder: FilePath? { nil }
  var byteCount: Int { files.reduce(0) { $0 + $1.byteCount } }
  var fileNames: [String] { files.map(\.name) }
  var fileHeaders: [FileHeader] {
    files.map { FileHeader(name: $0.name, text: HeaderBytes(bytes: $0.header)) }
  }

  /// Plans the files; throws `unsupported` for contents that GGUF cannot store.
  init(_ contents: Contents, _ options: WriteOptions) throws(ModelError) {
    self.contents = contents
    self.options = options
    tensorByteCount = contents.stored.reduce(0) { $0 + $1.byteCount }
    guard contents.metadata["general.architecture"] != nil else {
      throw ModelError(
        .unsupported, "gguf needs llama.cpp's metadata, which the model lacks",
        expected: "general.architecture")
    }
    for tensor in contents.stored { try Self.check(tensor) }
    let alignment = try GGUFHeader.alignment(contents.metadata, nil)
    offsets = TensorOffsets()
    let shards = contents.stored.ranges(limit: options.shardByteCount, alignment: alignment)
    for (number, members) in shards.enumerated() {
      var metadata = number == 0 ? contents.metadata : Metadata()
      if shards.count > 1 {
        metadata[GGUFSplit.numberKey] = .unsigned(UInt64(number), .u16)
        metadata[GGUFSplit.countKey] = .unsigned(UInt64(shards.count), .u16)
        metadata[GGUFSplit.tensorCountKey] = .signed(Int64(contents.stored.count), .i32)
        // Every file must state the alignment of its data.
        metadata["general.alignment"] = contents.metadata["general.alignment"]
      }
      let header = Self.header(contents.stored[members], metadata, alignment)
      let byteCount = offsets.addFile(members, from: header.count) {
        contents.stored[$0].byteCount.aligned(to: alignment)
      }
      files.append(
        File(name: name(number, of: shards.count), header: header, byteCount: byteCount))
    }
  }

  /// Plans a copy of the files of a model, with other metadata in the first one.
  ///
  /// Throws `unsupported` for big-endian files, and `io`.
  init(
    copying reader: GGUFReader, _ options: WriteOptions, changing change: (Metadata) -> Metadata
  ) throws(ModelError) {
    for (header, file) in zip(reader.headers, reader.files) where header.isBigEndian {
      throw ModelError(
        .unsupported, "the metadata of big-endian files cannot be changed", file: file.path.string,
        hint: "pleat convert --to gguf makes a little-endian file")
    }
    contents = Contents(
      stored: StoredTensors(reader.stored), metadata: change(reader.metadata), companions: [],
      provenance: Provenance())
    self.options = options
    tensorByteCount = reader.stored.reduce(0) { $0 + $1.byteCount }
    offsets = TensorOffsets()
    for (number, header) in reader.headers.enumerated() {
      let source = reader.files[number]
      var file = File(
        name: name(number, of: reader.files.count), header: [], byteCount: source.byteCount)
      var shift = 0
      if number == 0 {
        let alignment = try GGUFHeader.alignment(header.metadata, source.path.string)
        file.header = Self.header(
          header.entries.map(\.tensor), change(header.metadata), alignment)
        shift = file.header.count - header.dataStart
        let end = header.entries.last.map { $0.offset + $0.tensor.byteCount } ?? header.dataStart
        file.byteCount = end.aligned(to: alignment) + shift
      } else {
        file.header = try source.bytes(at: 0, count: min(header.dataStart, source.byteCount))
      }
      offsets.addFile(header.entries.map { $0.offset + shift })
      files.append(file)
    }
  }

  func open(
    replacing: Bool, resumption: Staging.Resumption?
  ) throws(ModelError) -> any TensorSink {
    try GGUFWriter(
      self, replacing: replacing, resumption: files.count > 1 ? resumption : nil)
  }

  /// What `ShardFiles` needs to know of each file.
  var plans: [ShardFiles.Plan] {
    files.map {
      .init(name: $0.name, header: HeaderBytes(bytes: $0.header), byteCount: $0.byteCount)
    }
  }

  var placement: FilePlacement? { FilePlacement(plans, offsets) }

  func finish(
    _ parts: PartFolder, knowing checksums: TensorChecksums, replacing: Bool
  ) throws(ModelError) -> any TensorSink {
    try GGUFWriter(self, finishing: parts, replacing: replacing)
  }

  private func name(_ number: Int, of count: Int) -> String {
    guard count > 1 else { return options.path.name }
    // The path may be the name of one of the files.
    let ending = (0..<count).lazy.map { ShardName.ending($0, of: count, suffix: "gguf") }
      .first(where: options.path.name.hasSuffix)
    let stem =
      ending.map { String(options.path.name.dropLast($0.count)) }
      ?? (options.path.extension == "gguf" ? options.path.stem : options.path.name)
    return ShardName.name(stem ?? "model", number, of: count, suffix: "gguf")
  }

  /// Throws `unsupported` for a tensor that llama.cpp's reader refuses, or crashes on.
  static func check(_ tensor: StoredTensor) throws(ModelError) {
    guard tensor.name.utf8.count < 64 else {
      throw ModelError(
        .unsupported, "the name is too long for gguf", tensor: tensor.name,
        expected: "at most 63 bytes", found: "\(tensor.name.utf8.count)")
    }
    guard tensor.shape.rank <= 4, tensor.shape.elementCount > 0 else {
      throw ModelError(
        .unsupported, "gguf cannot store the shape", tensor: tensor.name,
        expected: "at most 4 dimensions, none of them 0", found: "\(tensor.shape)")
    }
  }

  /// The bytes of a file up to its first tensor.
  static func header(
    _ tensors: some Collection<StoredTensor>, _ metadata: Metadata, _ alignment: Int
  ) -> [UInt8] {
    var bytes = GGUFHeader.magic
    bytes.append(littleEndian: UInt32(3))
    bytes.append(littleEndian: UInt64(tensors.count))
    bytes.append(littleEndian: UInt64(metadata.entries.count))
    bytes += GGUFMetadata.bytes(of: metadata)
    var offset = 0
    for tensor in tensors {
      GGUFMetadata.append(text: Array(tensor.name.utf8), to: &bytes)
      bytes.append(littleEndian: UInt32(tensor.shape.rank))
      for extent in tensor.shape.dimensions.reversed() {
        bytes.append(littleEndian: UInt64(extent))
      }
      bytes.append(littleEndian: GGMLType.holding(tensor.encoding)?.id ?? 0)
      bytes.append(littleEndian: UInt64(offset))
      offset = (offset + tensor.byteCount).aligned(to: alignment)
    }
    bytes += Array(repeating: 0, count: bytes.count.aligned(to: alignment) - bytes.count)
    return bytes
  }
}
