package import Bytes
package import Kernels
package import SystemPackage
package import TensorModel

/// How tensors lie in files; knows nothing of quantization.
package protocol Container: Sendable {
  /// The usual endings of its file names, without the dot.
  static var suffixes: [String] { get }

  /// Whether a file that begins with these bytes is one.
  static func recognizes(_ head: [UInt8]) -> Bool

  /// Opens the files of a model. Throws all kinds but `usage`.
  static func open(_ place: ModelPlace, limits: ReadLimits) throws(ModelError) -> any StoredReader

  /// The place of every byte of a new file. Throws `unsupported` for what it cannot hold.
  static func layout(_ contents: Contents, _ options: WriteOptions) throws(ModelError)
    -> any OutputLayout
}

/// An opened file, or set of files, of stored tensors.
package protocol StoredReader: Sendable {
  /// The stored tensors, in file order: those of the model, then those of attached adapters.
  var stored: [StoredTensor] { get }
  /// Adapters that the model carries.
  var attached: [AttachedAdapter] { get }
  /// The metadata, in file order.
  var metadata: Metadata { get }
  /// Files that travel with the model.
  var companions: [Companion] { get }
  /// The files that hold weights.
  var files: [InputFile] { get }
  /// Everything that is read, companions too.
  var inputPaths: [FilePath] { get }
  /// Where the model comes from, where the file says.
  var provenance: Provenance? { get }

  /// Fills `bytes` from `offset` of a stored tensor. Numbers arrive little-endian. Throws `io`, `malformed`.
  func read(_ stored: Int, at offset: Int, into bytes: inout MutableRawSpan) throws(ModelError)

  /// Where the bytes of a stored tensor are, one after the other as `read` gives them; nil where they
  /// are decompressed or swapped.
  func place(of stored: Int) -> StoredPlace?

  /// Fills `bytes` from `offset` of a companion file. Throws `io`, `malformed`.
  func readCompanion(_ index: Int, at offset: Int, into bytes: inout MutableRawSpan)
    throws(ModelError)

  /// From now on remembers the checksums of what is read, for `checkRead`.
  func startChecking()

  /// Throws `malformed` when a part of which something was read since `startChecking` is not what the
  /// file's own checksums say; `io`.
  func checkRead() throws(ModelError)

  /// Reads everything that carries a checksum and compares. Throws `io` only; faults are returned.
  func checkIntegrity(_ progress: (Int) throws(ModelError) -> Void) throws(ModelError) -> Integrity
}

/// A stored tensor as bytes of a file.
package struct StoredPlace: Sendable {
  /// The file.
  package var file: InputFile
  /// Where in it the tensor begins.
  package var offset: Int
  /// The checksum of all its bytes, where the file states it.
  package var checksum: CRC32C?

  package init(file: InputFile, offset: Int, checksum: CRC32C? = nil) {
    self.file = file
    self.offset = offset
    self.checksum = checksum
  }
}

/// What a file's own checksums say.
package struct Integrity: Sendable {
  /// How many checksums were compared.
  package var checkedCount: Int
  /// One error for each that does not hold.
  package var faults: [ModelError]

  package init(checkedCount: Int = 0, faults: [ModelError] = []) {
    self.checkedCount = checkedCount
    self.faults = faults
  }
}

extension StoredReader {
  package var provenance: Provenance? { nil }

  package var attached: [AttachedAdapter] { [] }

  package func place(of stored: Int) -> StoredPlace? { nil }

  /// The stored tensors of the model itself.
  package var modelStored: ArraySlice<StoredTensor> {
    stored[..<(attached.first?.stored.lowerBound ?? stored.count)]
  }

  /// The stored tensors of the model itself, to be looked into.
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

/// Everything that a new file will hold, without its numbers.
package struct Contents: Sendable {
  /// The tensors of the model, then those of attached adapters.
  package var stored: [StoredTensor]
  package var metadata: Metadata
  package var companions: [Companion]
  package var provenance: Provenance
  package var attached: [AttachedAdapter] = []

  package init(
    stored: [StoredTensor], metadata: Metadata, companions: [Companion], provenance: Provenance
  ) {
    self.stored = stored
    self.metadata = metadata
    self.companions = companions
    self.provenance = provenance
  }

  /// The number of stored tensors of the model itself.
  package var modelStoredCount: Int { attached.first?.stored.lowerBound ?? stored.count }
}

/// Wishes about the files to write.
package struct WriteOptions: Sendable {
  /// Where the result will be.
  package var path: FilePath
  /// Split into files of at most this many bytes of tensors.
  package var shardByteCount: Int?
  /// Compress parts where that gains something.
  package var compresses = false
  /// What the files of a folder are called, before a number and the suffix.
  package var stem = "model"

  package init(path: FilePath, shardByteCount: Int? = nil, compresses: Bool = false) {
    self.path = path
    self.shardByteCount = shardByteCount
    self.compresses = compresses
  }
}

/// The plan of new files: sizes and places, before any number is known.
package protocol OutputLayout: Sendable {
  /// What will be written.
  var contents: Contents { get }
  /// The bytes of all files together; an upper bound unless `isExact`.
  var byteCount: Int { get }
  /// Whether `byteCount` is what will be written.
  var isExact: Bool { get }
  /// The names of the files, relative to the folder they will be in.
  var fileNames: [String] { get }
  /// The folder of its own that the files will be in; nil when they go beside other files.
  var folder: FilePath? { get }
  /// Whether companion files have a place.
  var holdsCompanions: Bool { get }
  /// What files begin with, where no checksum of their own tells.
  var heads: [(name: String, bytes: [UInt8])] { get }

  /// Creates the files under temporary names. Throws `io`.
  ///
  /// `resumption` says what they are made of, where there are several.
  func open(replacing: Bool, resumption: Staging.Resumption?) throws(ModelError) -> any TensorSink
  /// The number of files that hold tensors.
  var shardCount: Int { get }
}

extension OutputLayout {
  package var heads: [(name: String, bytes: [UInt8])] { [] }
}

/// What several workers give the blocks of a model to.
package protocol BlockSink: AnyObject, Sendable {
  /// Writes a block of stored tensors; `ticket` counts the calls in plan order, from 0.
  ///
  /// Any thread, any order, but no ticket is left out. Throws `io`.
  func write(_ block: [PartBlock], ticket: Int) throws(ModelError)

  /// Writes bytes of a companion file, from the first on. One thread, before the blocks. Throws `io`.
  func writeCompanion(_ index: Int, at offset: Int, _ bytes: [UInt8]) throws(ModelError)

  /// Releases workers that wait for a ticket which will not come.
  func abandon()
}

/// A file, or set of files, being written by several workers.
///
/// It removes what it wrote unless `publish` is called.
package protocol TensorSink: BlockSink {
  /// Whether a stored tensor is in a file that an earlier run has finished, and need not be written.
  func isKept(_ stored: Int) -> Bool

  /// Writes what is known only after all blocks, and waits until all is on the disk, under
  /// temporary names. Throws `io`.
  func seal(sources: [SourceFile]) throws(ModelError) -> WrittenSize

  /// The sealed files, as a model that can be opened.
  var sealedPath: FilePath { get }

  /// Gives the sealed files their names. Throws `io`.
  func publish() throws(ModelError)
}

extension TensorSink {
  package func isKept(_ stored: Int) -> Bool { false }
}

extension BlockSink {
  package func abandon() {}
}

/// How much was written.
public struct WrittenSize: Sendable, Hashable {
  /// The bytes of all files together.
  public var byteCount: Int
  /// The bytes of tensors in them, as they are stored.
  public var tensorByteCount: Int
}

/// Some bytes of a stored tensor.
package struct PartBlock: Sendable {
  /// Where the bytes are.
  package enum Content: Sendable {
    /// In memory.
    case bytes([UInt8])
    /// In a file, from which they are copied unread.
    case range(InputFile, Range<Int>)
  }

  /// The index of the stored tensor.
  package var stored: Int
  /// Where in it the bytes belong.
  package var offset: Int
  /// The bytes, or where they are.
  package var content: Content
  /// Where the bytes are pieces of lines; nil where they follow each other in the tensor.
  package var lines: Lines?

  /// Lines of a stored tensor, of each of which a block has as many bytes.
  package struct Lines: Sendable {
    /// The number of lines.
    package var count: Int
    /// The bytes from one to the next.
    package var distance: Int

    package init(count: Int, distance: Int) {
      self.count = count
      self.distance = distance
    }
  }

  /// The length.
  var byteCount: Int {
    switch content {
    case .bytes(let bytes): bytes.count
    case .range(_, let range): range.count
    }
  }

  package init(stored: Int, offset: Int, _ content: Content) {
    self.stored = stored
    self.offset = offset
    self.content = content
  }

  package init(stored: Int, offset: Int, bytes: [UInt8]) {
    self.init(stored: stored, offset: offset, .bytes(bytes))
  }
}

extension OutputFile {
  /// Puts a block where it belongs in a stored tensor that begins at `start` of the file.
  ///
  /// Throws `io`.
  func write(_ block: PartBlock, at start: Int) throws(ModelError) {
    let offset = start + block.offset
    switch block.content {
    case .bytes(let bytes):
      guard let lines = block.lines else { return try write(bytes, at: offset) }
      let count = bytes.count / lines.count
      for line in 0..<lines.count {
        let piece = bytes.span.extracting(line * count..<(line + 1) * count)
        try write(piece, at: offset + line * lines.distance)
      }
    case .range(let file, let range): try copy(range, of: file, to: offset)
    }
  }
}
