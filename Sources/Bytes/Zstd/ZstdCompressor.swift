internal import CZstd
internal import Synchronization

/// Makes zstd frames of blocks at the library's level 1, on any thread.
///
/// zstd's working memory, a megabyte for each thread at work, stays for the blocks that follow.
package final class ZstdCompressor: Sendable {
  private let idle: Mutex<[Context]> = Mutex([])

  /// The working memory of one frame at a time.
  @safe private final class Context: @unchecked Sendable {
    // Who has taken it out of `idle` is the only one to use it, and zstd frees what zstd made.
    let pointer: OpaquePointer? = unsafe ZSTD_createCCtx()
    deinit { _ = unsafe ZSTD_freeCCtx(pointer) }
  }

  /// A compressor that has no memory yet.
  package init() {}

  /// Compresses a block into the beginning of `frame`.
  ///
  /// - Returns: The bytes that the frame takes; nil when it would not be smaller than the block.
  func compress(_ block: Span<UInt8>, into frame: inout MutableRawSpan) -> Int? {
    let context = idle.withLock { $0.popLast() } ?? Context()
    defer { idle.withLock { $0.append(context) } }
    let capacity = min(block.count - 1, frame.byteCount)
    guard capacity > 0, let memory = unsafe context.pointer else { return nil }
    // Pointers go with their own counts; zstd says how many bytes it has written.
    let size = unsafe block.withUnsafeBytes { source in
      unsafe frame.withUnsafeMutableBytes { target in
        unsafe ZSTD_compressCCtx(
          memory, target.baseAddress, capacity, source.baseAddress, source.count, 1)
      }
    }
    return ZSTD_isError(size) == 0 ? size : nil
  }
}
