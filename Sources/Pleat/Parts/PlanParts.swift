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
    /// The first of them; an index after all blocks of its job stands for the next job.
    let start: JobBlock
    /// The number of tensors that it writes completely or partly.
    public fileprivate(set) var tensorCount = 0
    /// The number of bytes that it reads.
    public fileprivate(set) var sourceByteCount = 0
    /// The number of bytes that it writes.
    public fileprivate(set) var targetByteCount = 0
    /// About how long it takes, in picoseconds of one thread.
    fileprivate(set) var picoseconds = 0
    /// The largest number of bytes that a worker keeps of a block.
    fileprivate(set) var largestBufferByteCount = 0

    /// About how long it takes, in seconds of one thread, if bytes are read and written at 1 GB/s.
    public var seconds: Double { Double(picoseconds) / 1e12 }
  }

  /// The parts, in the order of their numbers.
  public let parts: [Part]
  private let planByteCount: Int

  /// About how much memory a part takes with so many worker threads, in bytes.
  ///
  /// Every part makes the whole plan. A worker keeps one block as it is written, a part of it as it is
  /// read, and some floats.
  public func memoryByteCount(of part: Part, workerCount: Int) -> Int {
    planByteCount + workerCount * (part.largestBufferByteCount + 1 << 20)
  }

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
    let costs = plan.blockCosts
    let ends = Self.ends(
      costs.lazy.joined().map { ($0.count, $0.picoseconds) }, count: count)
    var parts: [Part] = []
    var (job, run, begun, start) = (0, 0, 0, 0)
    var block = 0  // in the job
    for (index, end) in ends.enumerated() {
      var part = Part(
        number: index + 1, blocks: start..<end, start: JobBlock(job: job, block: block))
      var last: Int?
      while start < end {
        guard run < costs[job].count else {
          (job, run, block) = (job + 1, 0, 0)
          continue
        }
        let cost = costs[job][run]
        let blockCount = min(cost.count - begun, end - start)
        part.add(cost, blockCount, isNew: last != job)
        last = job
        start += blockCount
        block += blockCount
        begun += blockCount
        if begun == cost.count { (run, begun) = (run + 1, 0) }
      }
      parts.append(part)
    }
    self.parts = parts
    planByteCount = plan.memoryByteCount
  }

  /// The end of each part: the block boundary that is nearest to its share of the time, as a number
  /// of blocks.
  ///
  /// `runs` are all blocks in their order, as numbers of blocks that each take the same time. A plan
  /// of a trillion weights has millions of blocks, but few runs.
  package static func ends(
    _ runs: some Collection<(count: Int, time: Int)>, count: Int
  ) -> [Int] {
    let total = runs.reduce(0) { $0 + $1.count * $1.time }
    let blockCount = runs.reduce(0) { $0 + $1.count }
    var ends: [Int] = []
    var rest = runs.makeIterator()
    var (run, done) = (rest.next(), 0)
    // The boundary that was found last: its blocks, and their time.
    var (index, time) = (0, 0)
    for number in 1..<count {
      // The product of both would overflow for a plan of many hours.
      let share = total / count * number + total % count * number / count
      while let (length, each) = run {
        // So many blocks more are nearer to the share than one less, or as near.
        let steps = each == 0 ? length - done : max(0, (2 * (share - time) + each) / (2 * each))
        let taken = min(length - done, steps)
        (index, done, time) = (index + taken, done + taken, time + taken * each)
        guard done == length else { break }
        (run, done) = (rest.next(), 0)
      }
      ends.append(index)
    }
    return ends + [blockCount]
  }
}

extension PlanParts.Part {
  /// Adds blocks of a job, which is a new one for the part or not.
  fileprivate mutating func add(_ cost: BlockCost, _ blockCount: Int, isNew: Bool) {
    sourceByteCount += blockCount * cost.sourceByteCount
    targetByteCount += blockCount * cost.targetByteCount
    picoseconds += blockCount * cost.picoseconds
    tensorCount += isNew ? 1 : 0
    largestBufferByteCount = max(largestBufferByteCount, cost.bufferByteCount)
  }
}

extension Plan {
  /// The costs of the blocks of each job, as runs of blocks that cost the same.
  fileprivate var blockCosts: [[BlockCost]] {
    var known = RecentValues<(kind: Shared<TensorJob.Kind>, costs: [BlockCost])>()
    return jobs.map { job in
      if let same = known.first(where: { $0.kind.isSame(as: job.kind) }) { return same.costs }
      let costs = job.costs
      known.insert((job.kind, costs))
      return costs
    }
  }

  /// How much memory the program and the plan take at most.
  ///
  /// Of the plans that were measured, of 300 to 100,000 tensors, those for safetensors files and for
  /// GGUF took most, 0.4 KiB a tensor.
  fileprivate var memoryByteCount: Int { 26 << 20 + jobs.count * 512 }
}
