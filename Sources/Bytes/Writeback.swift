internal import CFiles
internal import Dispatch
internal import Synchronization
internal import SystemPackage
internal import TensorModel

/// Has the disk take what is written to a file while more is written, and the system forget it then.
///
/// The end of a run waits for the disk: the sooner that begins, the less is left to wait for. What the
/// disk has of a large file leaves the system's memory, which the next bytes can have: nothing else is
/// pushed out of it, and no memory is needed that was not in use before.
final class Writeback: Sendable {
  /// Below this a file stays in memory, where its reader finds it.
  private static let largeByteCount = 32 << 20
  /// Bytes that the disk is given at a time.
  private static let stepByteCount = 8 << 20
  /// Steps on their way to the disk before those who write have to wait.
  private static let stepCount = 3

  private let path: FilePath
  private let descriptor: Int32
  private let isLarge: Bool
  private let written: Mutex<(byteCount: Int, end: Int)> = Mutex((0, 0))
  private let queue = DispatchQueue(label: "pleat.writeback")
  private let places = DispatchSemaphore(value: stepCount)
  private let taken: Mutex<(end: Int, fault: ModelError?)> = Mutex((0, nil))

  /// For an open file that will have about so many bytes.
  init(_ path: FilePath, descriptor: Int32, byteCount: Int) {
    self.path = path
    self.descriptor = descriptor
    isLarge = byteCount >= Self.largeByteCount
  }

  /// Adds a range that was written to `file`, which keeps the descriptor open; may wait for the disk.
  ///
  /// Throws `io` when the disk did not take what was written earlier.
  func add(_ range: Range<Int>, of file: OutputFile) throws(ModelError) {
    let end = written.withLock { written -> Int? in
      let step = written.byteCount / Self.stepByteCount
      written.byteCount += range.count
      written.end = max(written.end, range.upperBound)
      return written.byteCount / Self.stepByteCount > step ? written.end : nil
    }
    guard let end else { return }
    if let fault = taken.withLock({ $0.fault }) { throw fault }
    places.wait()
    queue.async { [self] in
      withExtendedLifetime(file) { take(until: end) }
      places.signal()
    }
  }

  /// Waits until nothing is done with the file any more.
  ///
  /// Throws `io` when the disk did not take what was written.
  func finish() throws(ModelError) {
    queue.sync {}
    if let fault = taken.withLock({ $0.fault }) { throw fault }
  }

  /// Gives the disk all that was written, and waits for what it was given before.
  private func take(until end: Int) {
    pleat_begin_writeback(descriptor)
    guard isLarge else { return }
    let earlier = taken.withLock { taken in
      defer { taken.end = end }
      return taken.end
    }
    guard earlier > 0, pleat_forget_written(descriptor, Int64(earlier)) != 0 else { return }
    let fault = ModelError.system("write", path.string)
    taken.withLock { $0.fault = $0.fault ?? fault }
  }
}
