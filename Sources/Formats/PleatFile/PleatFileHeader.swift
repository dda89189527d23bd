internal import Bytes
internal import Kernels
internal import TensorModel

/// The header of a pleat file; `PleatFileHeaderText` writes it as JSON.
struct PleatFileHeader {
  /// The features that a reader must support, by name.
  enum Feature: String, CaseIterable {
    /// Some parts are stored as zstd frames.
    case zstd
    /// Some tensors consist of GGML blocks.
    case ggmlBlocks = "ggml-blocks"
    /// Some tensors are codes that are numbers themselves, with scales of tiles.
    case scaledCodes = "scaled-codes"
    /// Some companion files are in sub-folders.
    case companionFolders = "companion-folders"
  }

  /// The location and the checksum of a part.
  struct Part: Equatable {
    /// The offset in the file; 0 for a compressed part.
    var offset = 0
    /// The length in bytes; for a compressed part, the decompressed length.
    var byteCount: Int
    /// The checksum of the stored bytes; for a compressed part, of all frames in order.
    var checksum = CRC32C()
    /// How the part is compressed; nil if it is not.
    var frames: Frames?
  }

  /// The frames of a compressed part: one frame for each plane of each block.
  struct Frames: Equatable {
    /// The decompressed length of each block except the last, which may be shorter.
    var blockByteCount: Int
    /// 1, or 2 if the low and the high bytes of 16-bit numbers are stored separately.
    var planeCount: Int
    /// For each block its offset in the file, then the stored length of each plane.
    var table: [Int] = []

    var blockCount: Int { table.count / (1 + planeCount) }
    func offset(_ block: Int) -> Int { table[block * (1 + planeCount)] }
    func sizes(_ block: Int) -> [Int] {
      let start = block * (1 + planeCount) + 1
      return Array(table[start..<start + planeCount])
    }
  }

  /// A weight and its parts, in the codec's order.
  struct Tensor {
    var info: TensorInfo
    var roles: [PartRole]
    var parts: [Part]
  }

  /// An adapter that is stored in the model.
  struct Adapter {
    var name: String
    var kind: String
    var config: JSONValue
    var pooling: String?
    var checksum: String
    var tensors: [Tensor]
  }

  var companions: [(name: String, part: Part)] = []
  var metadata: (count: Int, part: Part)
  var tensors: [Tensor] = []
  var adapters: [Adapter] = []
  var provenance: Provenance
}

extension PleatFileHeader {
  /// Reads and checks the JSON text of a header, found at `offset` of a file.
  ///
  /// Throws `malformed`, `unsupported` for features that this version does not know, and `limit`.
  init(
    _ text: [UInt8], file: String, offset: Int, limits: ReadLimits
  ) throws(ModelError) {
    var scanner = try JSONScanner(text, file: file, offset: offset, limits: limits)
    var reading = PleatFileHeaderReading(file: file, limits: limits)
    try scanner.object { (scanner, key) throws(ModelError) in
      try reading.member(key, &scanner)
    }
    try scanner.end()
    companions = reading.companions
    metadata = reading.metadata
    tensors = reading.tensors
    adapters = reading.adapters
    provenance = reading.provenance
  }
}
