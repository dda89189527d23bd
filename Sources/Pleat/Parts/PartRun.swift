internal import Bytes
internal import Formats
internal import Synchronization
internal import SystemPackage
public import TensorModel
internal import Weights

/// A run of one part of a plan, beside those of other parts on this machine and on others.
///
/// It writes its blocks into the files of `.name.parts`, and lists them in its journal there.
/// `PartFinish` makes the output of them. `formats/parts.md` describes the files.
public struct PartRun: Sendable {
  /// The plan.
  public let plan: Plan
  /// The part.
  public let part: PartNumber
  /// The arguments that make the plan, which `pleat finish` uses.
  public var arguments: [String]
  /// The number of worker threads, on which the output does not depend.
  public var workerCount: Int
  /// Whether an existing output will be replaced.
  public var replaces = false
  /// The request to stop.
  public var cancellation: Cancellation
  /// A closure that is called after each block, from any worker.
  public var onProgress: (@Sendable (Progress) -> Void)?

  private let path: String

  /// Creates the run of a part; nil as `workerCount` means one worker for each processor.
  ///
  /// `path` is the path of the output, as in the destination of the plan.
  public init(
    _ part: PartNumber, of plan: Plan, to path: String, arguments: [String] = [],
    workerCount: Int? = nil, cancellation: Cancellation = Cancellation()
  ) {
    self.plan = plan
    self.part = part
    self.path = path
    self.arguments = arguments
    self.workerCount = max(1, workerCount ?? Platform.processorCount)
    self.cancellation = cancellation
  }

  /// What a part has written.
  public struct Outcome: Sendable {
    /// The number of blocks of the part.
    public let blockCount: Int
    /// The number of blocks that earlier runs of the part had written.
    public let keptBlockCount: Int
    /// The number of bytes of the part in the output.
    public let byteCount: Int
    /// How exactly adapters were folded into the blocks of the part; nil if none was.
    public let fold: FoldReport?
  }

  /// Writes the blocks of the part that earlier runs of it have not written.
  ///
  /// A run that fails keeps what it wrote. Throws `usage` for a plan that cannot be divided, for
  /// parts of another plan in the same place, and if another run writes the same part; else what a
  /// run throws.
  @discardableResult
  public func callAsFunction() throws(ModelError) -> Outcome {
    try plan.checkPermits()
    let placement = try plan.partPlacement()
    let own = try PlanParts(plan, count: part.count).parts[part.number - 1]
    let folder = PartFolder(for: FilePath(path))
    let key = plan.key
    try folder.prepare(
      .init(
        key: key, count: part.count, folder: FileSystem.workingFolder?.string ?? "",
        arguments: arguments))
    let title = part.journalTitle(key: key)
    let known = try knownBlocks(try PartJournal(of: own, in: folder, plan, title: title), folder)
    let isComplete = known.blocks.count == own.blocks.count && known.isDone
    let blocks = plan.jobBlocks(of: own)
    func outcome(_ measurements: [Int: FoldMeasurement] = [:]) -> Outcome {
      var found = measurements
      for block in known.blocks { found[block.index] = block.fold }
      let fold = plan.foldReport(zip(own.blocks, blocks).map { ($1.job, found[$0]) })
      return Outcome(own, known.blocks.count, fold: found.isEmpty ? nil : fold)
    }
    guard !isComplete else { return outcome() }
    let journal = try PartFolder.Journal(
      of: part.number, in: folder, title: title,
      lines: known.blocks.map(\.line) + known.reads.map(\.line))
    let readers = plan.readers
    readers.startChecking()
    plan.startSourceChecksums()
    try reread(known.blocks, of: own)
    let kept = Set(known.blocks.map(\.index))
    let missing = zip(own.blocks, blocks).filter { !kept.contains($0.0) }
    let sink = PartSink(folder, placement, journal, indices: missing.map(\.0)) {
      () throws(ModelError) in
      // A block of an input that has changed is not listed: the input may get its old contents, and
      // its old time, before the part is run again.
      for file in readers.flatMap(\.files) { try file.checkUnchanged() }
      return plan.readLines
    }
    var run = Run(plan, workerCount: workerCount, cancellation: cancellation)
    run.onProgress = onProgress
    var pool = WorkerPool(run)
    let measurements: Mutex<[Int: FoldMeasurement]> = Mutex([:])
    pool.onMeasurement = { ticket, measurement in
      measurements.withLock { $0[missing[ticket].0] = measurement }
      sink.note(measurement, ticket: ticket)
    }
    do throws(ModelError) {
      _ = try pool.process(missing.map(\.1), to: sink)
    } catch {
      guard error.kind == .interrupted else { throw error }
      try sink.list()
      throw ModelError(
        .interrupted, "stopped on request; the same command goes on with the part")
    }
    try sink.list()
    try readers.checkRead()
    try journal.add([PartJournal.done])
    return outcome(measurements.withLock { $0 })
  }

  /// What a journal says, without blocks that are no longer in the files.
  private func knownBlocks(
    _ journal: PartJournal?, _ folder: PartFolder
  ) throws(ModelError) -> PartJournal {
    guard var known = journal else { return PartJournal() }
    // A killed run did not compare what it read of adapters with the checksums that they state.
    if !known.isDone, plan.adapters.contains(where: { $0.file.model.statesChecksums }) {
      return PartJournal()
    }
    let check = try BlockCheck(
      plan.partPlacement(), in: folder.output, workerCount: workerCount)
    let blocks = try check.whole(known.blocks, cancellation)
    known.isDone = known.isDone && blocks.count == known.blocks.count
    known.blocks = blocks
    return known
  }

  /// Reads again what finished blocks were made from, so that stated checksums are compared.
  private func reread(
    _ blocks: [WrittenBlock], of part: PlanParts.Part
  ) throws(ModelError) {
    guard plan.model.statesChecksums, !blocks.isEmpty else { return }
    let kept = Set(blocks.map(\.index))
    var buffers: [[UInt8]] = []
    for (index, block) in zip(part.blocks, plan.jobBlocks(of: part)) where kept.contains(index) {
      let job = plan.jobs[block.job]
      let units = job.partition.units(of: block.block)
      try plan.model.read(
        job.sourceIndex, job.partition,
        units: job.isGrown ? units.clamped(to: 0..<job.source.shape.rowCount) : units,
        into: &buffers, skipping: [])
    }
  }
}

extension PartRun.Outcome {
  fileprivate init(_ part: PlanParts.Part, _ keptBlockCount: Int, fold: FoldReport?) {
    self.init(
      blockCount: part.blocks.count, keptBlockCount: keptBlockCount,
      byteCount: part.targetByteCount, fold: fold)
  }
}

extension Plan {
  /// Lines about what was read of the source files since the last call, if their checksums matter.
  fileprivate var readLines: [String] {
    guard recordsSources else { return [] }
    return model.reader.files.enumerated().flatMap { index, file in
      file.takeChecksums().map {
        ReadRange(file: index, range: $0.range, checksum: $0.checksum).line
      }
    }
  }
}

extension Model {
  /// Whether its files state checksums, which are compared with what was read.
  fileprivate var statesChecksums: Bool { format.container.features.contains(.provenance) }
}
