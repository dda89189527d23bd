internal import Bytes
internal import Dispatch
internal import Formats
internal import Kernels
internal import Synchronization
internal import SystemPackage
internal import TensorModel

/// Compares blocks that parts have written with the checksums of their journals.
struct BlockCheck: Sendable {
  private let placement: FilePlacement
  private let files: [UncachedFile?]
  private let workerCount: Int

  /// Opens the files of the output in a folder; those that are absent hold no block.
  ///
  /// Throws `io`.
  init(
    _ placement: FilePlacement, in folder: FilePath, workerCount: Int
  ) throws(ModelError) {
    self.placement = placement
    self.workerCount = workerCount
    files = try placement.files.map { (name, byteCount) throws(ModelError) in
      let file = try UncachedFile(existing: folder.appending(name))
      return file?.byteCount == byteCount ? file : nil
    }
  }

  /// The blocks whose bytes are in the files, in their order.
  ///
  /// Throws `io`, and `interrupted` if cancelled.
  func whole(
    _ blocks: [WrittenBlock], _ cancellation: Cancellation
  ) throws(ModelError) -> [WrittenBlock] {
    let next = Atomic(0)
    let broken: Mutex<Set<Int>> = Mutex([])
    let failure: Mutex<ModelError?> = Mutex(nil)
    DispatchQueue.concurrentPerform(iterations: min(workerCount, max(1, blocks.count))) { _ in
      let buffer = UncachedFile.Buffer()
      while failure.withLock({ $0 == nil }) {
        let number = next.add(1, ordering: .relaxed).oldValue
        guard number < blocks.count else { return }
        do throws(ModelError) {
          if cancellation.isRequested { throw ModelError(.interrupted, "stopped on request") }
          if try !isWhole(blocks[number], buffer) { broken.withLock { _ = $0.insert(number) } }
        } catch {
          failure.withLock { $0 = $0 ?? error }
        }
      }
    }
    if let error = failure.withLock({ $0 }) { throw error }
    let numbers = broken.withLock { $0 }
    return blocks.enumerated().filter { !numbers.contains($0.offset) }.map(\.element)
  }

  private func isWhole(
    _ block: WrittenBlock, _ buffer: UncachedFile.Buffer
  ) throws(ModelError) -> Bool {
    for piece in block.pieces {
      let location = placement.location(of: piece.stored)
      guard let file = files[location.file] else { return false }
      var checksum = CRC32C()
      for range in piece.ranges {
        let start = location.offset + range.lowerBound
        try file.update(&checksum, with: start..<start + range.count, using: buffer)
      }
      guard checksum == piece.checksum else { return false }
    }
    return true
  }
}
