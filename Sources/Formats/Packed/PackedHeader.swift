internal import Bytes
internal import Kernels
internal import TensorModel

/// The header of a pleat file as values; `PackedHeaderText` writes its JSON.
struct PackedHeader {
  /// Features that a reader must understand, by name.
  enum Feature: String, CaseIterable {
    /// Some parts are stored as zstd frames.
    case zstd
    /// Some tensors are blocks in the layouts of GGML.
    case ggmlBlocks = "ggml-blocks"
  }

  /// Where the bytes of a part are.
  struct Part: Equatable {
    /// The offset in the file; of a compressed part, 0.
    var offset = 0
    /// The length, of a compressed part when decompressed.
    var byteCount: Int
    /// Of the stored bytes; for a compressed part all frames in order.
    var checksum = CRC32C()
    /// How it is compressed; nil when its bytes are in the file as they are.
    var frames: Frames?
  }

  /// A part in blocks of equal length, each stored as one run of bytes for each plane.
  struct Frames: Equatable {
    /// The length of each block but the last, decompressed.
    var blockByteCount: Int
    /// 1, or 2 where low and high bytes of 16-bit numbers are apart.
    var planeCount: Int
    /// For each block its offset in the file, then the stored size of each plane.
    var table: [Int] = []

    var blockCount: Int { table.count / (1 + planeCount) }
    func offset(_ block: Int) -> Int { table[block * (1 + planeCount)] }
    func sizes(_ block: Int) -> [Int] {
      let start = block * (1 + planeCount) + 1
      return Array(table[start..<start + planeCount])
    }
  }

  /// A weight and its parts, in the spelling's order.
  struct Tensor {
    var info: TensorInfo
    var roles: [PartRole]
    var parts: [Part]
  }

  /// An adapter that the model carries.
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

extension PackedHeader {
  /// Reads and checks the JSON text found at `offset` of a file.
  ///
  /// Throws `malformed`, `unsupported` for features that this version does not know, and `limit`.
  init(
    _ text: [UInt8], file: String, offset: Int, limits: ReadLimits
  ) throws(ModelError) {
    var scanner = try JSONScanner(text, file: file, offset: offset, limits: limits)
    var reading = PackedHeaderReading(file: file, limits: limits)
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
