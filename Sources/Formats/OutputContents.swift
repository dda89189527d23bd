internal import Bytes
package import Kernels
package import SystemPackage
package import TensorModel

/// Everything that an output will contain, except the numbers of its tensors.
package struct Contents: Sendable {
  /// The stored tensors of the model, followed by those of attached adapters.
  package var stored: StoredTensors
  package var metadata: Metadata
  package var companions: [Companion]
  package var provenance: Provenance
  package var attached: [AttachedAdapter] = []
  /// The checksums of stored tensors whose bytes are copied from a file that states them.
  package var checksums: [(stored: Int, checksum: CRC32C)] = []

  package init(
    stored: StoredTensors, metadata: Metadata, companions: [Companion], provenance: Provenance
  ) {
    self.stored = stored
    self.metadata = metadata
    self.companions = companions
    self.provenance = provenance
  }

  /// The number of stored tensors of the model itself.
  package var modelStoredCount: Int { attached.first?.stored.lowerBound ?? stored.count }
}

/// Options for the files to write.
package struct WriteOptions: Sendable {
  /// The path of the output.
  package var path: FilePath
  /// The largest number of tensor bytes in a file; nil for one file.
  package var shardByteCount: Int?
  /// Whether to compress the parts that become smaller by it.
  package var compresses = false
  /// The name of the files of a folder, without the shard number and the extension.
  package var stem = "model"

  package init(path: FilePath, shardByteCount: Int? = nil, compresses: Bool = false) {
    self.path = path
    self.shardByteCount = shardByteCount
    self.compresses = compresses
  }
}
