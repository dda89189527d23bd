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
  private let files: [InputFile?]
  private let workerCount: Int

  /// Opens the files of the output in a folder; those that are absent hold no block.
  init(_ placement: FilePlacement, in folder: FilePath, workerCount: Int) {
    self.placement = placement
    self.workerCount = workerCount
    files = placement.files.map { name, byteCount in
      let file = try? InputFile(folder.appending(name))
      // The comparison must read the disk, not the copy that the system keeps in memory.
      file?.forgetCached()
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
      while failure.withLock({ $0 == nil }) {
        let number = next.add(1, ordering: .relaxed).oldValue
        guard number < blocks.count else { return }
        do throws(ModelError) {
          if cancellation.isRequested { throw ModelError(.interrupted, "stopped on request") }
          if try !isWhole(blocks[number]) { broken.withLock { _ = $0.insert(number) } }
        } catch {
          failure.withLock { $0 = $0 ?? error }
        }
      }
    }
    if let error = failure.withLock({ $0 }) { throw error }
    let numbers = broken.withLock { $0 }
    return blocks.enumerated().filter { !numbers.contains($0.offset) }.map(\.element)
  }

  private func isWhole(_ block: WrittenBlock) throws(ModelError) -> Bool {
    for piece in block.pieces {
      let location = placement.locations[piece.stored]
      guard let file = files[location.file] else { return false }
      var checksum = CRC32C()
      for range in piece.ranges {
        let bytes = try file.bytes(at: location.offset + range.lowerBound, count: range.count)
        checksum.update(bytes.span)
      }
      guard checksum == piece.checksum else { return false }
    }
    return true
  }
}
