internal import CFiles
internal import Kernels
internal import Synchronization
package import SystemPackage
package import TensorModel

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// A new file that is written at any offset from any thread.
package final class OutputFile: Sendable {
  /// The temporary path under which the file is written.
  package let path: FilePath
  private let descriptor: Int32
  private let pieces: Mutex<ChecksumPieces?>
  private let writeback: Writeback

  /// Creates a file that must not exist yet.
  ///
  /// - Parameters:
  ///   - path: The temporary path.
  ///   - byteCount: The approximate length of the file.
  ///   - remembers: Whether the checksums of written bytes are kept for `written()`.
  /// - Throws: `io`.
  package init(
    creating path: FilePath, byteCount: Int = 0, remembers: Bool = false
  ) throws(ModelError) {
    let flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC
    // Safety: the system reads the zero-terminated path during the call only.
    let descriptor = unsafe path.withPlatformString { unsafe open($0, flags, 0o644) }
    guard descriptor >= 0 else { throw .system("create", path.string) }
    self.path = path
    writeback = Writeback(path, descriptor: descriptor, byteCount: byteCount)
    pieces = Mutex(remembers ? ChecksumPieces() : nil)
    self.descriptor = descriptor
  }

  /// Opens a file that an earlier run finished.
  ///
  /// Throws `io`.
  init(finished path: FilePath) throws(ModelError) {
    // Safety: the system reads the zero-terminated path during the call only.
    let descriptor = unsafe path.withPlatformString { unsafe open($0, O_RDWR | O_CLOEXEC) }
    guard descriptor >= 0 else { throw .system("open", path.string) }
    self.path = path
    writeback = Writeback(path, descriptor: descriptor, byteCount: 0)
    pieces = Mutex(nil)
    self.descriptor = descriptor
  }

  /// Opens a file of `byteCount` bytes that several machines write at the same time, or creates it.
  ///
  /// Each of them writes other bytes. Unless the file system is local, a write returns once its bytes
  /// are on disk. On NFS this also keeps the system from sending complete pages, in which the bytes
  /// of others would be outdated. Throws `io`; `malformed` if the file has another length.
  package init(sharing path: FilePath, byteCount: Int) throws(ModelError) {
    let isLocal = FileSystem.isLocal(path.parentFolder)
    let flags = O_WRONLY | O_CREAT | O_CLOEXEC | (isLocal ? 0 : O_DSYNC)
    // Safety: the system reads the zero-terminated path during the call only.
    let descriptor = unsafe path.withPlatformString { unsafe open($0, flags, 0o644) }
    guard descriptor >= 0 else { throw .system("create", path.string) }
    self.path = path
    writeback = Writeback(path, descriptor: descriptor, byteCount: byteCount)
    pieces = Mutex(nil)
    self.descriptor = descriptor
    var status = stat()
    // Safety: the system fills its own structure during the call only.
    guard unsafe fstat(descriptor, &status) == 0 else { throw .system("examine", path.string) }
    // Space is not reserved: where the system cannot do that, it would write bytes of others.
    guard status.st_size == 0 && byteCount > 0 else {
      guard status.st_size == byteCount else {
        throw ModelError(
          .malformed, "the file has another length than the plan", file: path.string,
          expected: "\(byteCount) bytes", found: "\(status.st_size)")
      }
      return
    }
    try extend(to: byteCount)
    try synchronize()
    try FileSystem.synchronizeFolder(path.parentFolder)
  }

  deinit { close(descriptor) }

  /// Takes the lock of the file; false if another process has it.
  ///
  /// Also true where the file system has no locks.
  func lock() -> Bool { FileSystem.lock(descriptor) }

  /// Writes all of `bytes` at `offset`.
  ///
  /// Throws `io`.
  package func write(_ bytes: Span<UInt8>, at offset: Int) throws(ModelError) {
    try put(bytes, at: offset)
    try writeback.add(bytes.count, before: offset + bytes.count, of: self)
  }

  /// Writes `bytes` into `count` stripes, each of which gets the same number of them.
  ///
  /// The first stripe begins at `offset`, and each other one `distance` bytes after the one before.
  /// Other calls write the bytes in between. Throws `io`.
  package func write(
    _ bytes: Span<UInt8>, inStripes count: Int, distance: Int, at offset: Int
  ) throws(ModelError) {
    let length = bytes.count / count
    for stripe in 0..<count {
      let piece = bytes.extracting(stripe * length..<(stripe + 1) * length)
      try put(piece, at: offset + stripe * distance)
    }
    try writeback.add(bytes.count, before: offset, of: self)
  }

  /// Writes all of `bytes` at `offset`, and remembers their checksum if that is wanted.
  private func put(_ bytes: Span<UInt8>, at offset: Int) throws(ModelError) {
    if remembers { remember(bytes, at: offset) }
    let count = bytes.count
    // In bounds: while `done` < `count`, `count - done` bytes follow the pointer.
    try unsafe bytes.withUnsafeBytes { (buffer) throws(ModelError) in
      var done = 0
      while done < count {
        let pointer = unsafe buffer.baseAddress?.advanced(by: done)
        let step = retryingInterrupts {
          unsafe pwrite(descriptor, pointer, count - done, off_t(offset + done))
        }
        guard step > 0 else { throw .system("write", path.string) }
        done += step
      }
    }
  }

  private var remembers: Bool { pieces.withLock { $0 != nil } }

  private func remember(_ bytes: Span<UInt8>, at offset: Int) {
    let checksum = CRC32C(of: bytes)
    pieces.withLock { $0?.add(checksum, offset..<offset + bytes.count) }
  }

  /// Writes all of `bytes` at `offset`.
  ///
  /// Throws `io`.
  package func write(_ bytes: [UInt8], at offset: Int) throws(ModelError) {
    try write(bytes.span, at: offset)
  }

  /// Copies a range of another file, inside the kernel where the system supports that.
  ///
  /// Throws `io`.
  package func copy(
    _ range: Range<Int>, of source: InputFile, to offset: Int
  ) throws(ModelError) {
    var done = 0
    while done < range.count {
      let step = retryingInterrupts {
        pleat_copy_file_range(
          source.descriptor, Int64(range.lowerBound + done), descriptor, Int64(offset + done),
          range.count - done)
      }
      // If the system cannot copy, or the source has become shorter, the loop below reads the rest.
      guard step > 0 else { break }
      if remembers {
        // Read the bytes for the checksum now, while the data is cached.
        let bytes = try source.bytes(at: range.lowerBound + done, count: step)
        remember(bytes.span, at: offset + done)
      }
      done += step
      try writeback.add(step, before: offset + done, of: self)
    }
    while done < range.count {
      let count = min(1 << 20, range.count - done)
      try write(try source.bytes(at: range.lowerBound + done, count: count), at: offset + done)
      done += count
    }
  }

  /// Reserves the disk space of the whole file, so that a full disk is reported early.
  ///
  /// Does nothing where the system cannot reserve space. Throws `io` if there is not enough.
  package func reserve(_ byteCount: Int) throws(ModelError) {
    #if os(Linux)
      guard byteCount > 0 else { return }
      let status = posix_fallocate(descriptor, 0, off_t(byteCount))
      if status == ENOSPC || status == EFBIG {
        errno = status
        throw .system("reserve \(byteCount) bytes", path.string)
      }
    #endif
  }

  /// Gives the file its length, with zeros where nothing was written.
  ///
  /// Throws `io`.
  package func extend(to byteCount: Int) throws(ModelError) {
    guard ftruncate(descriptor, off_t(byteCount)) == 0 else {
      throw .system("extend to \(byteCount) bytes", path.string)
    }
  }

  /// Opens what has been written so far for reading.
  ///
  /// The result knows the remembered checksums, so that the bytes need not be read for them. Throws
  /// `io`.
  package func written() throws(ModelError) -> InputFile {
    try InputFile(path, knowing: pieces.withLock { $0 })
  }

  /// Waits until the bytes are on disk.
  ///
  /// Throws `io`.
  package func synchronize() throws(ModelError) {
    try writeback.finish()
    guard fsync(descriptor) == 0 else { throw .system("synchronize", path.string) }
  }
}
