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
  private let buffers: PageBuffers

  /// Opens a file that exists; nil where its file system is not known to write so.
  init?(_ path: FilePath, _ buffers: PageBuffers) {
    self.buffers = buffers
    // The system reads a string that ends with a zero, and only during the call.
    descriptor = unsafe path.withPlatformString { unsafe pleat_open_uncached($0) }
    guard descriptor >= 0 else { return nil }
  }

  deinit { close(descriptor) }

  /// Writes bytes whose length, like `offset`, is a multiple of a page.
  ///
  /// Returns how many were written: fewer when the system refuses the rest, for whatever reason.
  func write(_ bytes: Span<UInt8>, at offset: Int) -> Int {
    // The buffer is used during the call only.
    unsafe buffers.lend { buffer in
      var done = 0
      while done < bytes.count {
        let count = min(bytes.count - done, PageBuffers.byteCount)
        let piece = bytes.extracting(done..<done + count)
        // The piece fits the buffer, by its length.
        let step = unsafe piece.withUnsafeBytes { piece in
          unsafe buffer.copyMemory(from: piece)
          return retryingInterrupts {
            unsafe pwrite(descriptor, buffer.baseAddress, count, off_t(offset + done))
          }
        }
        done += max(0, step)
        guard step == count else { break }
      }
      return done
    }
  }
}

/// Memory that begins at a page, a piece for each thread that writes; the files of a run share it.
package final class PageBuffers: Sendable {
  private let idle: Mutex<[Buffer]> = Mutex([])

  /// The unit in which the system places what is written past its cache.
  static let pageByteCount = 4096
  /// The length of a piece.
  static let byteCount = 1 << 20

  @safe private final class Buffer: @unchecked Sendable {
    // Who has taken it out of `idle` is the only one to use it.
    let bytes = UnsafeMutableRawBufferPointer.allocate(
      byteCount: PageBuffers.byteCount, alignment: pageByteCount)
    deinit { unsafe bytes.deallocate() }
  }

  /// No memory yet.
  package init() {}

  /// Calls `body` with a piece that nobody else uses meanwhile.
  func lend<Result>(_ body: (UnsafeMutableRawBufferPointer) -> Result) -> Result {
    let buffer = idle.withLock { $0.popLast() } ?? Buffer()
    defer { idle.withLock { $0.append(buffer) } }
    // It lives as long as `buffer`, which is kept here.
    return unsafe body(buffer.bytes)
  }
}
