internal import CZstd
internal import Synchronization

/// Compresses blocks to zstd frames at level 1, from any thread.
///
/// The working memory of zstd, one megabyte for each active thread, is reused for later blocks.
package final class ZstdCompressor: Sendable {
  private let idle: Mutex<[Context]> = Mutex([])

  /// The working memory for one frame at a time.
  @safe private final class Context: @unchecked Sendable {
    // Safety: only the thread that took the context out of `idle` uses it. `deinit` frees it once.
    let pointer: OpaquePointer? = unsafe ZSTD_createCCtx()
    deinit { _ = unsafe ZSTD_freeCCtx(pointer) }
  }

  /// Creates a compressor that has no working memory yet.
  package init() {}

  /// Compresses a block into the beginning of `frame`.
  ///
  /// - Returns: The size of the frame in bytes; nil if it would not be smaller than the block.
  func compress(_ block: Span<UInt8>, into frame: inout MutableRawSpan) -> Int? {
    let context = idle.withLock { $0.popLast() } ?? Context()
    defer { idle.withLock { $0.append(context) } }
    let capacity = min(block.count - 1, frame.byteCount)
    guard capacity > 0, let memory = unsafe context.pointer else { return nil }
    // In bounds: each pointer is passed with its own count. zstd returns the bytes written.
    let size = unsafe block.withUnsafeBytes { source in
      unsafe frame.withUnsafeMutableBytes { target in
        unsafe ZSTD_compressCCtx(
          memory, target.baseAddress, capacity, source.baseAddress, source.count, 1)
      }
    }
    return ZSTD_isError(size) == 0 ? size : nil
  }
}
