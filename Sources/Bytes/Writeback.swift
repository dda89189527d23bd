internal import CFiles
internal import Dispatch
internal import Synchronization
internal import SystemPackage
internal import TensorModel

/// Writes a file back to the disk early, and drops a large file from the page cache.
///
/// A run waits for the disk at its end. The earlier the system starts to write, the shorter that
/// wait is. Bytes of a large file leave the page cache once they are on disk. The next bytes then
/// reuse this memory, so that no other files are evicted and no further memory is needed.
final class Writeback: Sendable {
  /// Files below this size stay in the page cache, where a reader finds them.
  private static let largeByteCount = 32 << 20
  /// The number of bytes after which the system is asked to write.
  private static let stepByteCount = 8 << 20
  /// The number of steps that may be pending before writers have to wait.
  private static let stepCount = 3

  private let path: FilePath
  private let descriptor: Int32
  private let isLarge: Bool
  private let written: Mutex<(byteCount: Int, end: Int)> = Mutex((0, 0))
  private let queue = DispatchQueue(label: "pleat.writeback")
  private let slots = DispatchSemaphore(value: stepCount)
  private let progress: Mutex<(end: Int, fault: ModelError?)> = Mutex((0, nil))

  /// Creates the writeback of an open file; `byteCount` is its approximate length.
  init(_ path: FilePath, descriptor: Int32, byteCount: Int) {
    self.path = path
    self.descriptor = descriptor
    isLarge = byteCount >= Self.largeByteCount
  }

  /// Records that `byteCount` bytes of `file` were written, and starts writing to the disk after each
  /// step.
  ///
  /// Of a page that is dropped before it is complete, the system reads the other bytes back. So only
  /// bytes before `end` are written to the disk, where the caller leaves nothing out. May wait for the
  /// disk. `file` is kept alive meanwhile, since it owns the descriptor. Throws `io` if earlier bytes
  /// could not be written to the disk.
  func add(_ byteCount: Int, before end: Int, of file: OutputFile) throws(ModelError) {
    let end = written.withLock { written -> Int? in
      let step = written.byteCount / Self.stepByteCount
      written.byteCount += byteCount
      written.end = max(written.end, end)
      return written.byteCount / Self.stepByteCount > step ? written.end : nil
    }
    guard let end else { return }
    if let fault = progress.withLock({ $0.fault }) { throw fault }
    slots.wait()
    queue.async { [self] in
      withExtendedLifetime(file) { writeBack(until: end) }
      slots.signal()
    }
  }

  /// Waits until all pending steps are done.
  ///
  /// Throws `io` if bytes could not be written to the disk.
  func finish() throws(ModelError) {
    queue.sync {}
    if let fault = progress.withLock({ $0.fault }) { throw fault }
  }

  /// Starts writing everything before `end` to the disk.
  ///
  /// For a large file, also waits for the bytes of the previous step, and drops them from the
  /// cache.
  private func writeBack(until end: Int) {
    pleat_begin_writeback(descriptor, Int64(end))
    guard isLarge else { return }
    let earlier = progress.withLock { progress in
      defer { progress.end = end }
      return progress.end
    }
    guard earlier > 0, pleat_forget_written(descriptor, Int64(earlier)) != 0 else { return }
    let fault = ModelError.system("write", path.string)
    progress.withLock { $0.fault = $0.fault ?? fault }
  }
}
