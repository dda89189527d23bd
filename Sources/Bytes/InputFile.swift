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

/// A file opened for reading at any offset, from any thread.
package final class InputFile: Sendable {
  /// The path it was opened by.
  package let path: FilePath
  /// The length in bytes when it was opened.
  package let byteCount: Int

  let descriptor: Int32
  private let version: Version
  private let recording: Mutex<Recording?> = Mutex(nil)

  /// What has been read so far.
  private struct Recording {
    var boundaries: Set<Int>
    var segments: [Segment] = []
  }

  /// A stretch of the file whose checksum is known from having read it.
  private struct Segment {
    var offset: Int
    var byteCount: Int
    var checksum: CRC32C
    var end: Int { offset + byteCount }
  }

  /// What changes when somebody writes to the file.
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
  package init(_ path: FilePath) throws(ModelError) {
    // The system reads a string that ends with a zero, and only during the call.
    let descriptor = unsafe path.withPlatformString { unsafe open($0, O_RDONLY | O_CLOEXEC) }
    guard descriptor >= 0 else { throw .system("open", path.string) }
    var status = stat()
    // The system fills a structure of its own, here and below.
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
  }

  /// Asks the system to forget what it keeps of the file in memory, so that the disk is read next.
  package func forgetCached() {
    #if os(Linux)
      posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
    #endif
  }

  /// What distinguishes the file from another one, and from itself once somebody has written to it.
  package var identity: String {
    "\(path) \(byteCount) \(version.seconds).\(version.nanoseconds)"
  }

  /// Throws `io` when somebody has written to the file since it was opened.
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

  /// Fills `bytes` from `offset`.
  ///
  /// Throws `io` on failure, or when the file ends before.
  package func read(at offset: Int, into bytes: inout MutableRawSpan) throws(ModelError) {
    try fill(&bytes, from: offset)
    record(offset, bytes.bytes)
  }

  private func fill(_ bytes: inout MutableRawSpan, from offset: Int) throws(ModelError) {
    let count = bytes.byteCount
    let (name, file) = (path.string, descriptor)
    // `done` < `count` leaves `count - done` bytes behind the pointer.
    try unsafe bytes.withUnsafeMutableBytes { (buffer) throws(ModelError) in
      var done = 0
      while done < count {
        let pointer = unsafe buffer.baseAddress?.advanced(by: done)
        let step = retryingInterrupts {
          unsafe pread(file, pointer, count - done, off_t(offset + done))
        }
        guard step >= 0 else { throw .system("read", name) }
        guard step > 0 else {
          throw ModelError(
            .io, "the file ended while it was read", file: name, offset: offset + done,
            expected: "\(count) bytes", found: "\(done)")
        }
        done += step
      }
    }
  }

  /// The bytes of a range that is known to lie in the file.
  package func bytes(at offset: Int, count: Int) throws(ModelError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try bytes.change(0..<count) { (bytes) throws(ModelError) in
      try read(at: offset, into: &bytes)
    }
    return bytes
  }

  /// From now on remembers the checksums of all that is read, for `checksum()` and `checksums(of:)`.
  ///
  /// `boundaries` are where ranges begin that will be asked for.
  package func startChecksum(boundaries: Set<Int> = []) {
    recording.withLock { $0 = Recording(boundaries: boundaries) }
  }

  /// The CRC-32C of the whole file.
  ///
  /// What has been read since `startChecksum` is not read again.
  package func checksum() throws(ModelError) -> CRC32C {
    let known = segments
    var checksum = CRC32C()
    var position = 0
    for segment in known where segment.offset >= position {
      try extend(&checksum, from: position, to: segment.offset)
      checksum.append(segment.checksum, byteCount: segment.byteCount)
      position = segment.end
    }
    try extend(&checksum, from: position, to: byteCount)
    return checksum
  }

  /// The CRC-32C of each of some ranges; nil for one of which nothing has been read since
  /// `startChecksum`.
  ///
  /// What has been read is not read again. Throws `io`.
  package func checksums(of ranges: [Range<Int>]) throws(ModelError) -> [CRC32C?] {
    let known = segments
    var checksums: [CRC32C?] = []
    for range in ranges {
      // The first segment that begins in the range, by halving.
      var (low, high) = (0, known.count)
      while low < high {
        let middle = (low + high) / 2
        if known[middle].offset < range.lowerBound { low = middle + 1 } else { high = middle }
      }
      let touches = low < known.count && known[low].offset < range.upperBound
      guard touches || low > 0 && known[low - 1].end > range.lowerBound else {
        checksums.append(nil)
        continue
      }
      var checksum = CRC32C()
      var position = range.lowerBound
      while low < known.count, known[low].offset < range.upperBound {
        let segment = known[low]
        low += 1
        guard segment.offset >= position, segment.end <= range.upperBound else { continue }
        try extend(&checksum, from: position, to: segment.offset)
        checksum.append(segment.checksum, byteCount: segment.byteCount)
        position = segment.end
      }
      try extend(&checksum, from: position, to: range.upperBound)
      checksums.append(checksum)
    }
    return checksums
  }

  /// What was read and remembered, by place; of two that begin together the longer one first.
  private var segments: [Segment] {
    recording.withLock { $0?.segments ?? [] }.sorted {
      ($0.offset, $1.byteCount) < ($1.offset, $0.byteCount)
    }
  }

  private func record(_ offset: Int, _ bytes: RawSpan) {
    guard recording.withLock({ $0 != nil }) else { return }
    let segment = Segment(
      offset: offset, byteCount: bytes.byteCount, checksum: CRC32C(of: bytes))
    recording.withLock { recording in
      guard let count = recording?.segments.count else { return }
      // What goes on where one of the last ended, as blocks of a part do, becomes one with it.
      let isFirst = recording?.boundaries.contains(offset) ?? true
      for index in (max(0, count - Self.openSegmentCount)..<count).reversed()
      where !isFirst && recording?.segments[index].end == offset {
        recording?.segments[index].checksum.append(
          segment.checksum, byteCount: segment.byteCount)
        recording?.segments[index].byteCount += segment.byteCount
        return
      }
      recording?.segments.append(segment)
    }
  }

  /// Segments that may still grow: parts of a tensor, times blocks that workers read at once.
  private static let openSegmentCount = 32

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
