internal import Bytes
public import Formats
internal import Kernels
public import TensorModel
internal import Weights

/// A run of a plan, which reads, transforms and writes the weights.
public struct Run: Sendable {
  /// The plan.
  public let plan: Plan
  /// The number of worker threads, on which the output does not depend.
  public var workerCount: Int
  /// Whether an existing output is replaced.
  public var replaces: Bool
  /// Whether the output is re-read and compared before it is renamed into place.
  public var verifies = false
  /// Whether finished files of an earlier run of the same plan are reused.
  ///
  /// Finished files of this run are then kept if it stops. It has an effect only for output in
  /// several files; see `Plan.isResumable`.
  public var resumes = false
  /// The request to stop.
  public var cancellation: Cancellation
  /// A closure that is called after each block, from any worker.
  public var onProgress: (@Sendable (Progress) -> Void)?

  /// Creates a run of a plan; nil as `workerCount` means one worker for each processor.
  public init(
    _ plan: Plan, workerCount: Int? = nil, replacing: Bool = false,
    cancellation: Cancellation = Cancellation()
  ) {
    self.plan = plan
    self.workerCount = max(1, workerCount ?? Platform.processorCount)
    replaces = replacing
    self.cancellation = cancellation
  }

  /// The result of a run.
  public struct Outcome: Sendable {
    /// How much was written.
    public let size: WrittenSize
    /// How exactly adapters were folded in; nil if none was.
    public let fold: FoldReport?
  }

  /// Reads, transforms and writes everything, then renames the files into place.
  ///
  /// A run that fails leaves no output; with `resumes`, it keeps finished files. Throws `io`,
  /// `malformed`, `unsupported`, and `interrupted` if cancelled.
  @discardableResult
  public func callAsFunction() throws(ModelError) -> Outcome {
    try plan.checkPermits()
    plan.startSourceChecksums()
    let writing = OutputWriting(
      layout: plan.layout, readers: plan.readers, replaces: replaces, verifies: verifies,
      resumption: .init(key: plan.resumptionKey, isWanted: resumes))
    let (size, fold) = try writing(
      fill: { (sink) throws(ModelError) in try writeAll(to: sink) },
      sources: { () throws(ModelError) in try plan.sources() })
    return Outcome(size: size, fold: fold)
  }

  /// Measures how exactly the adapters would be folded in, without writing anything.
  ///
  /// Throws what a run throws.
  package func measured() throws(ModelError) -> FoldReport {
    try WorkerPool(self).process(plan.jobBlocks { $0.foldsAdapters }, to: nil)
      ?? FoldReport(partCount: 0, tensors: [])
  }

  private func writeAll(to sink: any BlockSink) throws(ModelError) -> FoldReport? {
    let copier = UnchangedParts(plan)
    try copier.copyCompanions(to: sink)
    let blocks = plan.jobBlocks { job in job.foldsAdapters || !sink.keeps(job) }
    let fold = try WorkerPool(self).process(blocks, to: sink)
    try copier.copyTensors(to: sink, firstTicket: blocks.count)
    return fold
  }
}

/// A block of a job: the unit of work of a worker.
struct JobBlock: Sendable, Hashable {
  /// The index of the job in the plan.
  var job: Int
  /// The index of the block in the job's partition.
  var block: Int
}

extension Plan {
  /// The readers of the model, of folded adapters and of attached adapters.
  var readers: [any StoredReader] {
    [model.reader] + adapters.map(\.file.model.reader) + attachments.map(\.model.reader)
  }

  /// Whether the output states the checksums of source files, which have to be found.
  var recordsSources: Bool {
    format.container.features.contains(.provenance) && model.reader.provenance == nil
  }

  /// Starts to remember checksums of the source files, if the output states them.
  func startSourceChecksums() {
    guard recordsSources else { return }
    for file in model.reader.files { file.startChecksum() }
  }

  /// The source files with their checksums; what was not read yet is read now.
  ///
  /// Throws `io`.
  func sources() throws(ModelError) -> [SourceFile] {
    if let provenance = model.reader.provenance { return provenance.sources }
    guard recordsSources else { return [] }
    var sources: [SourceFile] = []
    for file in model.reader.files {
      sources.append(
        SourceFile(
          name: file.path.name, byteCount: file.byteCount, checksum: try file.checksum()))
    }
    return sources
  }

  /// The blocks of the jobs that `isNeeded` selects, in the order of the plan.
  func jobBlocks(where isNeeded: (TensorJob) -> Bool = { _ in true }) -> [JobBlock] {
    jobs.enumerated().flatMap { index, job in
      isNeeded(job) ? (0..<job.blockCount).map { JobBlock(job: index, block: $0) } : []
    }
  }
}

extension BlockSink {
  /// Whether all stored tensors of a job are in files that an earlier run finished.
  fileprivate func keeps(_ job: TensorJob) -> Bool {
    guard let sink = self as? any TensorSink else { return false }
    return job.place.storedIndices.allSatisfy(sink.isKept)
  }
}
