internal import Bytes
internal import SystemPackage
internal import TensorModel

/// The plan of a pleat file to write; with compression, its length is an upper bound.
struct PleatFileLayout: OutputLayout {
  /// The bytes of the metadata and of companion files that are written at a time.
  static let chunkByteCount = 1 << 20

  let contents: Contents
  let options: WriteOptions
  let metadata: [UInt8]
  /// The offsets of the parts in file order: metadata, companions, then the stored tensors.
  let offsets: [Int]
  let headerOffset: Int
  private(set) var byteCount = 0

  init(_ contents: Contents, _ options: WriteOptions) {
    self.contents = contents
    self.options = options
    metadata = GGUFMetadata.bytes(of: contents.metadata)
    var offset = PleatFilePreamble.byteCount
    var offsets: [Int] = []
    offsets.reserveCapacity(1 + contents.companions.count + contents.stored.count)
    func add(_ length: Int) {
      offsets.append(length == 0 ? 0 : offset)
      offset = (offset + length).aligned(to: PleatFilePreamble.alignment)
    }
    add(metadata.count)
    for companion in contents.companions { add(companion.byteCount) }
    for tensor in contents.stored { add(tensor.byteCount) }
    self.offsets = offsets
    headerOffset = offset
    byteCount = estimatedByteCount()
  }

  var shardCount: Int { 1 }
  var isExact: Bool { !options.compresses }
  var holdsCompanions: Bool { true }
  var folder: FilePath? { nil }

  /// The length of the file; an upper bound if it is compressed.
  ///
  /// Each compressed block adds at most three numbers to the header.
  private func estimatedByteCount() -> Int {
    let header = PleatFileHeaderText(self, sources: contents.provenance.sources).byteCount
    guard options.compresses else { return headerOffset + header }
    let blocks = contents.stored.reduce(0) {
      $0 + ($1.byteCount + max(1, $1.blockByteCount) - 1) / max(1, $1.blockByteCount)
    }
    return headerOffset + header + 64 * (blocks + offsets.count)
  }

  /// A lower bound of the file length: zstd needs at least four bytes for 128 KiB.
  var leastByteCount: Int {
    guard options.compresses else { return byteCount }
    return offsets.indices.reduce(PleatFilePreamble.byteCount) { sum, index in
      let byteCount = part(index).byteCount
      return sum + min(byteCount, 4 * ((byteCount + (1 << 17) - 1) >> 17))
    }
  }

  var fileNames: [String] { [options.path.name] }

  /// The index of the metadata among the parts.
  var metadataIndex: Int { 0 }

  /// The index of the first companion among the parts.
  var firstCompanion: Int { 1 }

  /// The index of the first stored tensor among the parts.
  var firstStored: Int { firstCompanion + contents.companions.count }

  /// A part as it is planned: neither compressed nor with a checksum yet.
  func part(_ index: Int) -> PleatFileHeader.Part {
    let byteCount =
      index >= firstStored
      ? contents.stored[index - firstStored].byteCount
      : index == metadataIndex
        ? metadata.count : contents.companions[index - firstCompanion].byteCount
    return PleatFileHeader.Part(offset: offsets[index], byteCount: byteCount)
  }

  /// The bytes of part `index` that are written and compressed at a time.
  func blockByteCount(_ index: Int) -> Int {
    index < firstStored
      ? Self.chunkByteCount : max(1, contents.stored[index - firstStored].blockByteCount)
  }

  /// The number of planes: 2 for parts of 16-bit floats, whose low and high bytes compress better
  /// separately, otherwise 1.
  func planeCount(_ index: Int) -> Int {
    guard index >= firstStored else { return 1 }
    let part = contents.stored[index - firstStored]
    switch (part.role, part.encoding) {
    case (.values, .plain(let type)): return type == .f16 || type == .bf16 ? 2 : 1
    case (.scales, .grouped(let grouping)), (.biases, .grouped(let grouping)):
      return grouping.parameters.bitWidth == 16 ? 2 : 1
    case (.scales, .scaled(let codes)): return codes.scales.bitWidth == 16 ? 2 : 1
    default: return 1
    }
  }

  func open(
    replacing: Bool, resumption: Staging.Resumption?
  ) throws(ModelError) -> any TensorSink {
    try PleatFileWriter(self, replacing: replacing)
  }

  var placement: FilePlacement? {
    guard !options.compresses else { return nil }
    let (offsets, first) = (offsets, firstStored)
    return FilePlacement(files: [(options.path.name, byteCount)]) { (0, offsets[first + $0]) }
  }

  func finish(
    _ parts: PartFolder, knowing checksums: TensorChecksums, replacing: Bool
  ) throws(ModelError) -> any TensorSink {
    try PleatFileWriter(self, finishing: parts, knowing: checksums, replacing: replacing)
  }
}
