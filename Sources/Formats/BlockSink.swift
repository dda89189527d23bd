package import SystemPackage
package import TensorModel

/// Receives the blocks of a model from several workers.
package protocol BlockSink: AnyObject, Sendable {
  /// Writes a block of stored tensors; `ticket` counts the calls in plan order, from 0.
  ///
  /// Workers may call it from any thread and in any order. Every ticket must be used exactly once.
  /// Throws `io`.
  func write(_ block: [PartBlock], ticket: Int) throws(ModelError)

  /// Writes bytes of a companion file.
  ///
  /// One thread calls it, in order of the offsets, before any block is written. Throws `io`.
  func writeCompanion(_ index: Int, at offset: Int, _ bytes: [UInt8]) throws(ModelError)

  /// Releases workers that wait for a ticket that will never be used.
  func abandon()
}

/// A file, or a set of files, that several workers write.
///
/// It removes everything it wrote unless `publish` is called.
package protocol TensorSink: BlockSink {
  /// Whether an earlier run finished the file of a stored tensor, which need not be written then.
  func isKept(_ stored: Int) -> Bool

  /// Writes what depends on all blocks and flushes the files to the disk.
  ///
  /// The files keep their temporary names. Throws `io`.
  func seal(sources: [SourceFile]) throws(ModelError) -> WrittenSize

  /// The path at which the sealed files can be opened as a model.
  var sealedPath: FilePath { get }

  /// Renames the sealed files to their final names. Throws `io`.
  func publish() throws(ModelError)
}

extension TensorSink {
  package func isKept(_ stored: Int) -> Bool { false }
}

extension BlockSink {
  package func abandon() {}
}

/// The size of an output.
public struct WrittenSize: Sendable, Hashable {
  /// The length of all files together, in bytes.
  public var byteCount: Int
  /// The number of bytes that the tensors of the model take in the files.
  public var tensorByteCount: Int

  package init(byteCount: Int, tensorByteCount: Int) {
    self.byteCount = byteCount
    self.tensorByteCount = tensorByteCount
  }
}
