internal import Kernels
internal import Synchronization

/// Records the checksums of compressed blocks that are read, from any thread.
///
/// A checksum takes a few bytes, so that models of any size can be checked while they are read.
final class FrameChecksums: Sendable {
  // By the offset of a part's first block, which identifies the part; nil until `start` is called.
  private let known: Mutex<[Int: [CRC32C?]]?> = Mutex(nil)

  /// Starts recording the checksums of blocks.
  func start() { known.withLock { $0 = [:] } }

  /// Records the checksum of the stored bytes of a block.
  func note(_ frames: PleatFileHeader.Frames, _ block: Int, _ stored: [UInt8]) {
    guard known.withLock({ $0 != nil }) else { return }
    let checksum = CRC32C(of: stored.span)
    known.withLock { known in
      known?[
        frames.offset(0), default: Array(repeating: nil, count: frames.blockCount)][block] =
        checksum
    }
  }

  /// The checksums of all blocks of a part; nil for blocks that were not read.
  func checksums(of frames: PleatFileHeader.Frames) -> [CRC32C?] {
    let none = [CRC32C?](repeating: nil, count: frames.blockCount)
    guard frames.blockCount > 0 else { return none }
    return known.withLock { $0?[frames.offset(0)] } ?? none
  }
}
