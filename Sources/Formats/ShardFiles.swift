internal import Bytes
internal import Synchronization
internal import SystemPackage
internal import TensorModel

extension FilePlacement {
  /// The placement of files of a model.
  init(_ plans: [ShardFiles.Plan], _ locations: [ShardFiles.Location]) {
    self.init(files: plans.map { ($0.name, $0.byteCount) }) { stored in
      (locations[stored].file, locations[stored].offset)
    }
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
    var header: [UInt8]
    var byteCount: Int
  }

  /// The file and the offset of a stored tensor.
  struct Location: Sendable {
    var file: Int
    var offset: Int
  }

  let staging: Staging
  private let locations: [Location]
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
    _ staging: Staging, _ plans: [Plan], _ locations: [Location], _ stored: [StoredTensor],
    areFilled: Bool = false
  ) throws(ModelError) {
    self.staging = staging
    self.locations = locations
    var missing = [Int](repeating: 0, count: plans.count)
    for (location, tensor) in zip(locations, stored) {
      missing[location.file] += tensor.byteCount
    }
    var shards: [Shard] = []
    for (plan, missing) in zip(plans, missing) {
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
  func isKept(_ stored: Int) -> Bool { shards[locations[stored].file].isKept }

  /// Writes blocks into the files of their tensors.
  ///
  /// Throws `io`.
  func write(_ block: [PartBlock]) throws(ModelError) {
    for part in block {
      let location = locations[part.stored]
      let shard = shards[location.file]
      guard !shard.isKept else { continue }
      try shard.file.write(part, at: location.offset)
      let left = shard.missing.subtract(part.byteCount, ordering: .acquiringAndReleasing).newValue
      if left == 0 { try staging.finish(shard.file) }
    }
  }
}
