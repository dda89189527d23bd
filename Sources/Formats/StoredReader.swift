package import Bytes
package import Kernels
package import SystemPackage
package import TensorModel

/// An opened file, or a set of files, with stored tensors.
package protocol StoredReader: Sendable {
  /// The stored tensors, in file order: those of the model, then those of attached adapters.
  var stored: [StoredTensor] { get }
  /// The adapters that are stored in the model.
  var attached: [AttachedAdapter] { get }
  /// The metadata, in file order.
  var metadata: Metadata { get }
  /// The files that belong to the model without containing weights.
  var companions: [Companion] { get }
  /// Notes for the user about files that are not read.
  var notes: [String] { get }
  /// The files that contain the weights.
  var files: [InputFile] { get }
  /// The paths of all files that are read, including companions.
  var inputPaths: [FilePath] { get }
  /// The origin of the model; nil if the file does not state it.
  var provenance: Provenance? { get }

  /// Fills `bytes` from `offset` of a stored tensor, with little-endian numbers.
  ///
  /// Throws `io`, `malformed` and, for numbers that cannot be swapped, `unsupported`.
  func read(_ stored: Int, at offset: Int, into bytes: inout MutableRawSpan) throws(ModelError)

  /// The location of the bytes of a stored tensor, if the file contains them as `read` gives them.
  ///
  /// Nil if `read` decompresses them or swaps their byte order.
  func location(of stored: Int) -> StoredLocation?

  /// Fills `bytes` from `offset` of a companion file. Throws `io`, `malformed`.
  func readCompanion(_ index: Int, at offset: Int, into bytes: inout MutableRawSpan)
    throws(ModelError)

  /// Starts recording the checksums of everything that is read, for `checkRead`.
  func startChecking()

  /// Compares the parts that were read since `startChecking`, even partly, with their checksums.
  ///
  /// Throws `malformed` if a checksum in the file differs, and `io`.
  func checkRead() throws(ModelError)

  /// Reads everything that has a checksum in the file, and compares it.
  ///
  /// `progress` receives the number of bytes of each step. Faults are returned; throws `io`, and
  /// what `progress` throws.
  func checkIntegrity(_ progress: (Int) throws(ModelError) -> Void) throws(ModelError) -> Integrity

  /// Plans a copy of the files with other metadata, in which every tensor keeps its bytes.
  ///
  /// `change` returns the new metadata for that of a file. Throws `unsupported` if the metadata of the
  /// files cannot be changed, `usage` for an output path that does not suit them, and `io`.
  func copyLayout(
    _ options: WriteOptions, changing change: (Metadata) -> Metadata
  ) throws(ModelError) -> any OutputLayout
}

/// The location of a stored tensor: a file and an offset.
package struct StoredLocation: Sendable {
  /// The file.
  package var file: InputFile
  /// The offset of the first byte of the tensor.
  package var offset: Int
  /// The checksum of all bytes of the tensor; nil if the file does not state it.
  package var checksum: CRC32C?

  package init(file: InputFile, offset: Int, checksum: CRC32C? = nil) {
    self.file = file
    self.offset = offset
    self.checksum = checksum
  }
}

/// The result of comparing a file with its own checksums.
package struct Integrity: Sendable {
  /// The number of checksums that were compared.
  package var checkedCount: Int
  /// The faults, one error each.
  package var faults: [ModelError]

  package init(checkedCount: Int = 0, faults: [ModelError] = []) {
    self.checkedCount = checkedCount
    self.faults = faults
  }
}

extension StoredReader {
  package var provenance: Provenance? { nil }

  package var notes: [String] { [] }

  package var attached: [AttachedAdapter] { [] }

  package func location(of stored: Int) -> StoredLocation? { nil }

  /// The stored tensors of the model itself.
  package var modelStored: ArraySlice<StoredTensor> {
    stored[..<(attached.first?.stored.lowerBound ?? stored.count)]
  }

  /// The stored tensors of the model itself, with access to their bytes.
  package var contents: StoredContents {
    StoredContents(attached.isEmpty ? stored : Array(modelStored)) {
      (tensor, range) throws(ModelError) in
      var bytes = [UInt8](repeating: 0, count: range.count)
      try bytes.change(0..<range.count) { (span) throws(ModelError) in
        try self.read(tensor, at: range.lowerBound, into: &span)
      }
      return bytes
    }
  }

  package var inputPaths: [FilePath] { files.map(\.path) }

  package func startChecking() {}

  package func checkRead() {}

  package func checkIntegrity(_ progress: (Int) throws(ModelError) -> Void) -> Integrity {
    Integrity()
  }
}
