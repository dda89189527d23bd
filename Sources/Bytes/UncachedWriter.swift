internal import CFiles
internal import Synchronization
internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// Writes whole pages of a file past the system's cache, on file systems that are known to do that
/// well.
///
/// What a run waits for in the end is the disk. Pages that go there at once cost no copy into the
/// cache, push nothing else out of it, and do not wait for each other as those of a cached file do.
final class UncachedWriter: Sendable {
  private let descriptor: Int32
  private let idle: Mutex<[Buffer]> = Mutex([])

  /// The unit in which such bytes are placed, in memory as in the file.
  static let pageByteCount = 4096
  private static let bufferByteCount = 1 << 20

  /// Memory that begins at a page.
  @safe private final class Buffer: @unchecked Sendable {
    // Who has taken it out of `idle` is the only one to use it.
    let bytes = UnsafeMutableRawBufferPointer.allocate(
      byteCount: bufferByteCount, alignment: pageByteCount)
    deinit { unsafe bytes.deallocate() }
  }

  /// Opens a file that exists; nil where its file system is not known to write so.
  init?(_ path: FilePath) {
    // The system reads a string that ends with a zero, and only during the call.
    descriptor = unsafe path.withPlatformString { unsafe pleat_open_uncached($0) }
    guard descriptor >= 0 else { return nil }
  }

  deinit { close(descriptor) }

  /// Writes bytes whose length, like `offset`, is a multiple of a page.
  ///
  /// Returns how many were written: fewer when the system refuses the rest, for whatever reason.
  func write(_ bytes: Span<UInt8>, at offset: Int) -> Int {
    let buffer = idle.withLock { $0.popLast() } ?? Buffer()
    defer { idle.withLock { $0.append(buffer) } }
    var done = 0
    while done < bytes.count {
      let count = min(bytes.count - done, Self.bufferByteCount)
      let piece = bytes.extracting(done..<done + count)
      // The piece fits the buffer, by its length.
      let step = unsafe piece.withUnsafeBytes { piece in
        unsafe buffer.bytes.copyMemory(from: piece)
        return retryingInterrupts {
          unsafe pwrite(descriptor, buffer.bytes.baseAddress, count, off_t(offset + done))
        }
      }
      guard step > 0 else { break }
      done += step
      guard step == count else { break }
    }
    return done
  }
}
