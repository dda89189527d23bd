internal import CFiles
package import Kernels
package import SystemPackage
package import TensorModel

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// A finished file whose bytes are read from the disk, not from the copy that the system keeps in
/// memory.
///
/// Where the file system has direct reads, the disk writes into the buffer, and nothing is copied.
/// Elsewhere, and for short ranges, the file is dropped from the page cache and then read as usual.
package final class UncachedFile: Sendable {
  /// The length in bytes when the file was opened.
  package var byteCount: Int { file.byteCount }

  private let file: InputFile
  /// For direct reads; nil if the file system has none.
  private let descriptor: Int32?

  /// Memory for direct reads, for one thread.
  @safe package final class Buffer {
    /// A multiple of the block size of all disks.
    fileprivate static let alignment = 4096
    fileprivate static let byteCount = 1 << 20
    fileprivate let bytes: UnsafeMutableRawBufferPointer

    package init() {
      unsafe bytes = .allocate(byteCount: Self.byteCount, alignment: Self.alignment)
      // Safety: the buffer has so many bytes.
      unsafe bytes.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit { unsafe bytes.deallocate() }
  }

  /// Of shorter ranges a direct read would take too much that is not needed.
  private static let leastByteCount = 1 << 16

  /// Opens a regular file, and drops it from the page cache; nil if there is none.
  ///
  /// Throws `io`.
  package init?(existing path: FilePath) throws(ModelError) {
    guard let file = try InputFile(existing: path) else { return nil }
    self.file = file
    file.forgetCached()
    // Safety: the system reads the zero-terminated path during the call only.
    let opened = unsafe path.withPlatformString { unsafe pleat_open_direct($0) }
    guard opened >= 0 || errno == EINVAL else { throw .system("open", path.string) }
    descriptor = opened >= 0 ? opened : nil
  }

  deinit { if let descriptor { close(descriptor) } }

  /// Adds the bytes of a range to a checksum; the range must lie in the file.
  ///
  /// Throws `io`, and if the file has become shorter.
  package func update(
    _ checksum: inout CRC32C, with range: Range<Int>, using buffer: Buffer
  ) throws(ModelError) {
    var position = range.lowerBound
    while position < range.upperBound {
      let start = position / Buffer.alignment * Buffer.alignment
      let end = min(range.upperBound, start + Buffer.byteCount)
      let isLong = range.count >= Self.leastByteCount
      let isDirect = isLong ? try read(start..<end, into: buffer) : false
      // In bounds: `end - start` is at most the length of the buffer.
      var bytes = unsafe UnsafeMutableRawBufferPointer(
        rebasing: buffer.bytes[position - start..<end - start]
      ).mutableBytes
      if !isDirect { try file.read(at: position, into: &bytes) }
      checksum.update(bytes.bytes)
      position = end
    }
  }

  /// Fills the buffer with a range that begins at a block of the disk; false if the file system has
  /// no direct reads.
  private func read(_ range: Range<Int>, into buffer: Buffer) throws(ModelError) -> Bool {
    guard let descriptor else { return false }
    // Whole blocks are read, but nothing follows the end of the file.
    let mask = Buffer.alignment - 1
    let count = (range.count + mask) & ~mask
    var done = 0
    while done < range.count {
      // In bounds: `count` is at most the length of the buffer, which is whole blocks.
      let pointer = unsafe buffer.bytes.baseAddress?.advanced(by: done)
      let step = retryingInterrupts {
        unsafe pread(descriptor, pointer, count - done, off_t(range.lowerBound + done))
      }
      // Some file systems refuse direct reads only when they are asked to read.
      guard step >= 0 || errno != EINVAL else { return false }
      guard step >= 0 else { throw .system("read", file.path.string) }
      done += step
      guard done < range.count else { break }
      // A read that ends inside a block has met the end of the file.
      guard step > 0, done & mask == 0 else {
        throw ModelError(
          .io, "the file ended while it was read", file: file.path.string,
          offset: range.lowerBound + done, expected: "\(range.count) bytes", found: "\(done)")
      }
    }
    return true
  }
}
