package import Bytes
package import Kernels

/// The origin of a model: the files it was made from, and the operations applied to it.
package struct Provenance: Sendable, Hashable {
  /// The metadata key of the history, in formats that cannot store it otherwise.
  package static let historyKey = "pleat.history"

  /// The files that the weights were read from.
  package var sources: [SourceFile]
  /// The operations, oldest first; each is an object with the key `action`.
  package var history: [JSONValue]

  package init(sources: [SourceFile] = [], history: [JSONValue] = []) {
    self.sources = sources
    self.history = history
  }
}

/// A file that weights were read from.
package struct SourceFile: Sendable, Hashable {
  /// The file name, without folders.
  package var name: String
  /// The length in bytes.
  package var byteCount: Int
  /// The CRC-32C of the whole file.
  package var checksum: CRC32C

  package init(name: String, byteCount: Int, checksum: CRC32C) {
    self.name = name
    self.byteCount = byteCount
    self.checksum = checksum
  }
}
