internal import Bytes
internal import Synchronization
internal import SystemPackage
internal import TensorModel

/// The files of a model, one or several, while blocks of its tensors are written to their places.
///
/// A file of several is put on the disk as soon as all of its tensors are written, and noted, so that
/// a run that was stopped can go on from it.
final class ShardFiles: Sendable {
  /// A file before its tensors are written.
  struct Plan {
    var name: String
    var header: [UInt8]
    var byteCount: Int
  }

  /// Where a stored tensor goes.
  struct Place {
    var file: Int
    var offset: Int
  }

  let staging: Staging
  private let places: [Place]
  private let shards: [Shard]

  /// A file, and how many bytes of tensors are still to come.
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

  /// Creates the files with their headers; those that an earlier run has finished stay as they are.
  ///
  /// Throws `io`.
  init(
    _ staging: Staging, _ plans: [Plan], _ places: [Place], _ stored: [StoredTensor]
  ) throws(ModelError) {
    self.staging = staging
    self.places = places
    var missing = [Int](repeating: 0, count: plans.count)
    for (place, tensor) in zip(places, stored) { missing[place.file] += tensor.byteCount }
    var shards: [Shard] = []
    for (plan, missing) in zip(plans, missing) {
      let file = try staging.create(plan.name, byteCount: plan.byteCount)
      let isKept = staging.isKept(plan.name)
      shards.append(Shard(file, isKept: isKept, missing: missing))
      guard !isKept else { continue }
      try file.reserve(plan.byteCount)
      try file.write(plan.header, at: 0)
      // The last byte, which may be padding that nothing else writes.
      if plan.byteCount > plan.header.count { try file.write([0], at: plan.byteCount - 1) }
    }
    self.shards = shards
  }

  /// Whether a stored tensor is in a file that an earlier run has finished.
  func isKept(_ stored: Int) -> Bool { shards[places[stored].file].isKept }

  /// Writes blocks to their places.
  ///
  /// Throws `io`.
  func write(_ block: [PartBlock]) throws(ModelError) {
    for part in block {
      let place = places[part.stored]
      let shard = shards[place.file]
      guard !shard.isKept else { continue }
      try shard.file.write(part, at: place.offset)
      let left = shard.missing.subtract(part.byteCount, ordering: .acquiringAndReleasing).newValue
      if left == 0 { try staging.finish(shard.file) }
    }
  }
}
