internal import Bytes
internal import Synchronization
internal import SystemPackage
internal import TensorModel

extension FilePlacement {
  /// The placement of files of a model.
  init(_ plans: [ShardFiles.Plan], _ offsets: TensorOffsets) {
    self.init(files: plans.map { ($0.name, $0.byteCount) }) { offsets.location(of: $0) }
  }
}

/// The files of a model, one or several, while blocks of its tensors are written.
///
/// As soon as all tensors of a shard are written, the shard is flushed to the disk and recorded as
/// finished. A later run can then continue from it.
final class ShardFiles: Sendable {
  /// The name, header and length of a file to create.
  struct Plan {
    var name: String
    var header: any HeaderText
    var byteCount: Int
  }

  let staging: Staging
  private let offsets: TensorOffsets
  private let shards: [Shard]

  /// A file, and the number of tensor bytes that are not yet written.
  private final class Shard: Sendable {
    let file: OutputFile
    let isKept: Bool
    let missing: Atomic<Int>

    init(_ file: OutputFile, isKept: Bool, missing: Int) {
      self.file = file
      self.isKept = isKept
      self.missing = Atomic(missing)
    }
  }

  /// Creates the files with their headers; files that an earlier run finished do not change.
  ///
  /// If they `areFilled`, parts have written everything but the headers. Throws `io`.
  init(
    _ staging: Staging, _ plans: [Plan], _ offsets: TensorOffsets, _ stored: StoredTensors,
    areFilled: Bool = false
  ) throws(ModelError) {
    self.staging = staging
    self.offsets = offsets
    var shards: [Shard] = []
    for (number, plan) in plans.enumerated() {
      let missing = stored[offsets.members(of: number)].reduce(0) { $0 + $1.byteCount }
      let file = try staging.create(plan.name, byteCount: plan.byteCount)
      let isKept = staging.isKept(plan.name) && !areFilled
      shards.append(Shard(file, isKept: isKept, missing: missing))
      guard !isKept else { continue }
      if !areFilled { try file.reserve(plan.byteCount) }
      try file.write(plan.header, at: 0)
      guard !areFilled else { continue }
      // The last bytes may be padding, which nothing else writes.
      try file.extend(to: plan.byteCount)
    }
    self.shards = shards
  }

  /// Whether a stored tensor is in a file that an earlier run finished.
  func isKept(_ stored: Int) -> Bool { shards[offsets.location(of: stored).file].isKept }

  /// Writes blocks into the files of their tensors.
  ///
  /// Throws `io`.
  func write(_ block: [PartBlock]) throws(ModelError) {
    for part in block {
      let location = offsets.location(of: part.stored)
      let shard = shards[location.file]
      guard !shard.isKept else { continue }
      try shard.file.write(part, at: location.offset)
      let left = shard.missing.subtract(part.byteCount, ordering: .acquiringAndReleasing).newValue
      if left == 0 { try staging.finish(shard.file) }
    }
  }
}
