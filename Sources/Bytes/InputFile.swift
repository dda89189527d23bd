package import Kernels
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

/// A file that is open for reading at any offset from any thread.
package final class InputFile: Sendable {
  /// The path by which the file was opened.
  package let path: FilePath
  /// The length in bytes when the file was opened.
  package let byteCount: Int

  let descriptor: Int32
  private let version: Version
  private let pieces: Mutex<ChecksumPieces?>

  /// The length and modification time, which change when the file is written.
  private struct Version: Equatable {
    var byteCount: Int
    var seconds: Int
    var nanoseconds: Int

    init(_ status: stat) {
      #if canImport(Darwin)
        let time = status.st_mtimespec
      #else
        let time = status.st_mtim
      #endif
      (byteCount, seconds, nanoseconds) = (Int(status.st_size), Int(time.tv_sec), Int(time.tv_nsec))
    }
  }

  /// Opens a regular file.
  ///
  /// Throws `io`.
  package convenience init(_ path: FilePath) throws(ModelError) {
    try self.init(path, knowing: nil)
  }

  /// Opens a regular file; nil if there is none.
  ///
  /// It is opened to find that out: on a network file system, a file that another machine has
  /// removed may still be listed. Throws `io`.
  package convenience init?(existing path: FilePath) throws(ModelError) {
    let descriptor = Self.descriptor(of: path)
    guard descriptor >= 0 || errno != ENOENT && errno != ESTALE else { return nil }
    try self.init(path, descriptor: descriptor, knowing: nil)
  }

  /// Opens a regular file for which some checksums are known.
  ///
  /// Throws `io`.
  convenience init(_ path: FilePath, knowing pieces: ChecksumPieces?) throws(ModelError) {
    try self.init(path, descriptor: Self.descriptor(of: path), knowing: pieces)
  }

  private static func descriptor(of path: FilePath) -> Int32 {
    // Without `O_NONBLOCK`, opening a named pipe would wait for a writer.
    let flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK
    // Safety: the system reads the zero-terminated path during the call only.
    return unsafe path.withPlatformString { unsafe open($0, flags) }
  }

  /// Takes over the result of `open`, which is negative if that has failed.
  private init(
    _ path: FilePath, descriptor: Int32, knowing pieces: ChecksumPieces?
  ) throws(ModelError) {
    guard descriptor >= 0 else { throw .system("open", path.string) }
    var status = stat()
    // Safety: the system fills its own structure during the call only, here and below.
    guard unsafe fstat(descriptor, &status) == 0 else {
      defer { close(descriptor) }
      throw .system("examine", path.string)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw ModelError(.io, "not a regular file", file: path.string)
    }
    self.path = path
    self.descriptor = descriptor
    self.byteCount = Int(status.st_size)
    version = Version(status)
    self.pieces = Mutex(pieces)
  }

  /// Asks the system to drop the file from the page cache, so that later reads come from the disk.
  package func forgetCached() {
    #if os(Linux)
      posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
    #endif
  }

  /// The name, length and modification time, which identify this version of the file.
  package var identity: String {
    "\(path.lastComponent?.string ?? path.string) \(byteCount) \(version.seconds).\(version.nanoseconds)"
  }

  /// Throws `io` if the file has been written since it was opened.
  package func checkUnchanged() throws(ModelError) {
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else { throw .system("examine", path.string) }
    guard Version(status) == version else {
      throw ModelError(
        .io, "the file changed while it was read", file: path.string,
        hint: "run again once nothing writes to it")
    }
  }

  deinit { close(descriptor) }

  /// Fills `bytes` from the file at `offset`.
  ///
  /// Throws `io` on failure, and if the file ends too early.
  package func read(at offset: Int, into bytes: inout MutableRawSpan) throws(ModelError) {
    try fill(&bytes, from: offset)
    record(offset, bytes.bytes)
  }

  private func fill(_ bytes: inout MutableRawSpan, from offset: Int) throws(ModelError) {
    let count = bytes.byteCount
    // In bounds: while `done` < `count`, `count - done` bytes follow the pointer.
    try unsafe bytes.withUnsafeMutableBytes { (buffer) throws(ModelError) in
      var done = 0
      while done < count {
        let pointer = unsafe buffer.baseAddress?.advanced(by: done)
        let step = retryingInterrupts {
          unsafe pread(descriptor, pointer, count - done, off_t(offset + done))
        }
        guard step >= 0 else { throw .system("read", path.string) }
        guard step > 0 else {
          throw ModelError(
            .io, "the file ended while it was read", file: path.string, offset: offset + done,
            expected: "\(count) bytes", found: "\(done)")
        }
        done += step
      }
    }
  }

  /// The bytes of a range that is known to lie in the file.
  ///
  /// Throws `io`.
  package func bytes(at offset: Int, count: Int) throws(ModelError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try bytes.change(0..<count) { (bytes) throws(ModelError) in
      try read(at: offset, into: &bytes)
    }
    return bytes
  }

  /// Starts to remember the checksums of the bytes read, for `checksum()` and `checksums(of:)`.
  ///
  /// Pieces are not joined across `boundaries`: pass the bounds of the ranges to ask for.
  package func startChecksum(boundaries: Set<Int> = []) {
    pieces.withLock { $0 = ChecksumPieces(boundaries: boundaries) }
  }

  /// The checksums of what was read since `startChecksum`, or since the last call.
  ///
  /// They are forgotten; another process can add them.
  package func takeChecksums() -> [(range: Range<Int>, checksum: CRC32C)] {
    pieces.withLock { $0?.take() ?? [] }.map { ($0.range, $0.checksum) }
  }

  /// Adds the checksum of a range that another process has read; call `startChecksum` first.
  package func addChecksum(_ checksum: CRC32C, of range: Range<Int>) {
    pieces.withLock { $0?.add(checksum, range) }
  }

  private func record(_ offset: Int, _ bytes: RawSpan) {
    guard pieces.withLock({ $0 != nil }) else { return }
    let checksum = CRC32C(of: bytes)
    pieces.withLock { $0?.add(checksum, offset..<offset + bytes.byteCount) }
  }

  /// The CRC-32C of the whole file.
  ///
  /// Bytes that have been read since `startChecksum` are not read again. Throws `io`.
  package func checksum() throws(ModelError) -> CRC32C {
    if let known = try checksums(of: [0..<byteCount])[0] { return known }
    var checksum = CRC32C()
    try extend(&checksum, from: 0, to: byteCount)
    return checksum
  }

  /// The CRC-32C of each range; nil if none of its bytes have been read since `startChecksum`.
  ///
  /// Bytes that have been read are not read again. Throws `io`.
  package func checksums(of ranges: [Range<Int>]) throws(ModelError) -> [CRC32C?] {
    let known = known
    var checksums: [CRC32C?] = []
    for range in ranges {
      // Binary search for the first piece that begins at or after the start of the range.
      var (low, high) = (0, known.count)
      while low < high {
        let middle = (low + high) / 2
        if known[middle].range.lowerBound < range.lowerBound {
          low = middle + 1
        } else {
          high = middle
        }
      }
      let touches = low < known.count && known[low].range.lowerBound < range.upperBound
      guard touches || low > 0 && known[low - 1].range.upperBound > range.lowerBound else {
        checksums.append(nil)
        continue
      }
      var checksum = CRC32C()
      var position = range.lowerBound
      while low < known.count, known[low].range.lowerBound < range.upperBound {
        let piece = known[low]
        low += 1
        guard piece.range.lowerBound >= position, piece.range.upperBound <= range.upperBound else {
          continue
        }
        try extend(&checksum, from: position, to: piece.range.lowerBound)
        checksum.append(piece.checksum, byteCount: piece.range.count)
        position = piece.range.upperBound
      }
      try extend(&checksum, from: position, to: range.upperBound)
      checksums.append(checksum)
    }
    return checksums
  }

  private var known: [ChecksumPieces.Piece] { pieces.withLock { $0?.sorted ?? [] } }

  private func extend(_ checksum: inout CRC32C, from start: Int, to end: Int) throws(ModelError) {
    var chunk = [UInt8](repeating: 0, count: min(end - start, 1 << 20))
    var position = start
    while position < end {
      let count = min(chunk.count, end - position)
      try chunk.change(0..<count) { (bytes) throws(ModelError) in
        try fill(&bytes, from: position)
        checksum.update(bytes.bytes)
      }
      position += count
    }
  }
}
