internal import Kernels
internal import Synchronization

/// The checksums of compressed blocks that were read, from any thread: a few bytes for each, so that
/// models of any size can be checked while they are read.
final class FrameChecksums: Sendable {
  // By the place of a part's first block, which no other part has; nil while nobody asks.
  private let known: Mutex<[Int: [CRC32C?]]?> = Mutex(nil)

  /// From now on remembers the checksums of blocks.
  func start() { known.withLock { $0 = [:] } }

  /// Remembers the checksum of a block as it is stored.
  func note(_ frames: PackedHeader.Frames, _ block: Int, _ stored: [UInt8]) {
    guard known.withLock({ $0 != nil }) else { return }
    let checksum = CRC32C(of: stored.span)
    known.withLock { known in
      known?[
        frames.offset(0), default: Array(repeating: nil, count: frames.blockCount)][block] =
        checksum
    }
  }

  /// The checksums of all blocks of a part; nil for those that were not read.
  func ofFrames(in frames: PackedHeader.Frames) -> [CRC32C?] {
    let none = [CRC32C?](repeating: nil, count: frames.blockCount)
    guard frames.blockCount > 0 else { return none }
    return known.withLock { $0?[frames.offset(0)] } ?? none
  }
}
