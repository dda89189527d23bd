public import TensorModel

/// The division of a plan into parts, which several machines can run.
///
/// A part is a run of blocks, in the order of the plan. All parts take about the same time. The
/// division depends on the plan and on the number of parts only.
public struct PlanParts: Sendable {
  /// A part of a plan.
  public struct Part: Sendable, Hashable {
    /// The number of the part, from 1.
    public let number: Int
    /// Its blocks, as indices into all blocks of the plan.
    package let blocks: Range<Int>
    /// The number of tensors that it writes completely or partly.
    public fileprivate(set) var tensorCount = 0
    /// The number of bytes that it reads.
    public fileprivate(set) var sourceByteCount = 0
    /// The number of bytes that it writes.
    public fileprivate(set) var targetByteCount = 0
    /// About how long it takes, in picoseconds of one thread.
    fileprivate(set) var picoseconds = 0

    /// About how long it takes, in seconds of one thread, if bytes are read and written at 1 GB/s.
    public var seconds: Double { Double(picoseconds) / 1e12 }
  }

  /// The parts, in the order of their numbers.
  public let parts: [Part]

  /// The largest number of parts.
  public static let countLimit = 10_000

  /// Divides a plan.
  ///
  /// If there are more parts than blocks, some are empty. Throws `usage` unless the number of parts
  /// is between 1 and `countLimit`, and for a plan whose output is compressed.
  public init(_ plan: Plan, count: Int) throws(ModelError) {
    guard (1...Self.countLimit).contains(count) else {
      throw ModelError(
        .usage, "a plan can be divided into 1 to \(Self.countLimit) parts", found: "\(count)")
    }
    _ = try plan.partPlacement()
    var sums = [0]
    for job in plan.jobs {
      for block in 0..<job.blockCount {
        sums.append(sums[sums.count - 1] + job.picoseconds(of: block))
      }
    }
    let ends = Self.ends(sums, count: count)
    var parts: [Part] = []
    var (job, block, start) = (0, 0, 0)
    for (index, end) in ends.enumerated() {
      var part = Part(number: index + 1, blocks: start..<end)
      var last: Int?
      for _ in start..<end {
        while block == plan.jobs[job].blockCount { (job, block) = (job + 1, 0) }
        part.sourceByteCount += plan.jobs[job].sourceByteCount(of: block)
        part.targetByteCount += plan.jobs[job].targetByteCount(of: block)
        part.picoseconds += plan.jobs[job].picoseconds(of: block)
        if last != job { part.tensorCount += 1 }
        last = job
        block += 1
      }
      parts.append(part)
      start = end
    }
    self.parts = parts
  }

  /// The end of each part: the block boundary that is nearest to its share of the time.
  ///
  /// `sums` has the time of all blocks before each block, and at last that of all blocks.
  package static func ends(_ sums: [Int], count: Int) -> [Int] {
    let total = sums[sums.count - 1]
    var ends: [Int] = []
    var index = 0
    for number in 1..<count {
      // The product of both would overflow for a plan of many hours.
      let share = total / count * number + total % count * number / count
      while index + 1 < sums.count, abs(sums[index + 1] - share) <= abs(sums[index] - share) {
        index += 1
      }
      ends.append(index)
    }
    return ends + [sums.count - 1]
  }
}
