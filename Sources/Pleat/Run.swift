internal import Bytes
internal import Dispatch
public import Formats
internal import Synchronization
public import TensorModel

/// Carries out a plan: the only part that moves weights.
public struct Run: Sendable {
  /// What is to be done.
  public let plan: Plan
  /// Worker threads; the output does not depend on it.
  public var workerCount: Int
  /// Whether an existing output is replaced.
  public var replaces: Bool
  /// Whether what was written is read back from the disk, and compared with what it has to be, before
  /// the files get their names.
  public var verifies = false
  /// Whether to go on from the files that an earlier run of the same plan has finished, and to keep
  /// those of this one when it is stopped; for plans of several files.
  public var resumes = false
  /// A request to stop.
  public var cancellation: Cancellation
  /// Called after each block, from any worker.
  public var onProgress: (@Sendable (Progress) -> Void)?

  /// A run of a plan with as many workers as there are processors, or `workerCount`.
  public init(
    _ plan: Plan, workerCount: Int? = nil, replacing: Bool = false,
    cancellation: Cancellation = Cancellation()
  ) {
    self.plan = plan
    self.workerCount = max(1, workerCount ?? Platform.processorCount)
    replaces = replacing
    self.cancellation = cancellation
  }

  /// What a run has done.
  public struct Outcome: Sendable {
    /// How much was written.
    public let size: WrittenSize
    /// What survived of adapters; nil when none was folded.
    public let fold: FoldReport?
  }

  /// A block of a tensor, in the order of the plan.
  private struct Job {
    var tensor: Int
    var block: Int
  }

  /// Reads, transforms and writes everything, then gives the files their names.
  ///
  /// On failure nothing is left behind. Returns how much was written, and what survived of adapters.
  /// Throws `io`, `malformed`, `unsupported`, and `interrupted` when cancelled.
  @discardableResult
  public func callAsFunction() throws(ModelError) -> Outcome {
    let recordsChecksums = plan.format == .pleat && plan.model.reader.provenance == nil
    if recordsChecksums { for file in plan.model.reader.files { file.startChecksum() } }
    for reader in readers { reader.startChecking() }
    let sink = try plan.layout.open(
      replacing: replaces, resumption: .init(key: plan.resumptionKey, isWanted: resumes))
    let fold = try writeAll(to: sink)
    let sources = try sources(recordsChecksums)
    for reader in readers {
      try reader.checkRead()
      for file in reader.files { try file.checkUnchanged() }
    }
    let size = try sink.seal(sources: sources)
    if verifies {
      try sink.readBack(plan.layout) { (sink) throws(ModelError) in _ = try writeAll(to: sink) }
    }
    try sink.publish()
    return Outcome(size: size, fold: fold)
  }

  /// Everything that numbers are read from.
  private var readers: [any StoredReader] {
    [plan.model.reader] + plan.adapters.map(\.file.model.reader)
      + plan.attachments.map(\.model.reader)
  }

  private func writeAll(to sink: any BlockSink) throws(ModelError) -> FoldReport? {
    try copyCompanions(to: sink)
    let fold = try runWorkers(sink)
    let ticket = jobs(for: sink).count
    for (index, addition) in plan.additions.enumerated() {
      let block = PartBlock(stored: addition.stored, offset: 0, bytes: addition.bytes)
      try sink.write([block], ticket: ticket + index)
    }
    try copyAttachments(to: sink, firstTicket: ticket + plan.additions.count)
    return fold
  }

  /// Finds out what would survive of the adapters; writes nothing.
  ///
  /// Throws what running does.
  public func measured() throws(ModelError) -> FoldReport {
    try runWorkers(nil) ?? FoldReport(modules: [])
  }

  /// Without a sink, only what adapters change is computed.
  private func runWorkers(_ sink: (any BlockSink)?) throws(ModelError) -> FoldReport? {
    let jobs = jobs(for: sink)
    let total = jobs.reduce(0) { sum, job in
      let cut = plan.blocks[job.tensor]
      return sum + cut.sourceByteCount(of: cut.units(of: job.block))
    }
    let measurements: Mutex<[Int: FoldMeasurement]> = Mutex([:])
    let next = Atomic(0)
    let done = Atomic(0)
    let failure: Mutex<Failure?> = Mutex(nil)
    DispatchQueue.concurrentPerform(iterations: min(workerCount, max(1, jobs.count))) { _ in
      let worker = BlockWorker(plan)
      while failure.withLock({ $0 == nil }) {
        let ticket = next.add(1, ordering: .relaxed).oldValue
        guard ticket < jobs.count else { return }
        let job = jobs[ticket]
        do throws(ModelError) {
          if cancellation.isRequested {
            throw ModelError(.interrupted, "stopped on request; nothing was written")
          }
          let block = try worker.process(job.tensor, block: job.block)
          if let measurement = block.measurement {
            measurements.withLock { $0[ticket] = measurement }
          }
          try sink?.write(block.parts, ticket: ticket)
        } catch {
          failure.withLock { $0 = Failure(ticket: ticket, error: error).orEarlier($0) }
          sink?.abandon()
          return
        }
        guard let onProgress else { continue }
        let cut = plan.blocks[job.tensor]
        let bytes = cut.sourceByteCount(of: cut.units(of: job.block))
        onProgress(
          Progress(
            byteCount: done.add(bytes, ordering: .relaxed).newValue, totalByteCount: total,
            tensorCount: job.tensor + 1, totalTensorCount: plan.tensors.count,
            tensor: plan.tensors[job.tensor].source.name))
      }
    }
    if let failure = failure.withLock({ $0 }) { throw failure.error }
    return report(measurements.withLock { $0 }, of: jobs)
  }

  /// Measurements of blocks, added up in the order of the plan, so that no thread changes a digit.
  private func report(_ measurements: [Int: FoldMeasurement], of jobs: [Job]) -> FoldReport? {
    guard !plan.adapters.isEmpty else { return nil }
    var report = FoldReport(modules: [])
    var last: Int?
    for ticket in measurements.keys.sorted() {
      guard let measurement = measurements[ticket] else { continue }
      let plan = plan.tensors[jobs[ticket].tensor]
      if last != jobs[ticket].tensor {
        report.modules.append(plan.module)
      }
      last = jobs[ticket].tensor
      report.modules[report.modules.count - 1].measurement.merge(measurement)
    }
    return report
  }

  /// The blocks of all tensors that a sink does not have yet, in the order of the plan; those of
  /// tensors that adapters change in any case, since they are measured.
  private func jobs(for sink: (any BlockSink)?) -> [Job] {
    plan.blocks.enumerated().flatMap { tensor, cut in
      var isNeeded = sink != nil || !plan.tensors[tensor].changes.isEmpty
      if let sink = sink as? any TensorSink, plan.tensors[tensor].changes.isEmpty {
        let first = plan.firstParts[tensor]
        isNeeded = !(first..<first + cut.target.count).allSatisfy(sink.isKept)
      }
      return isNeeded ? (0..<cut.blockCount).map { Job(tensor: tensor, block: $0) } : []
    }
  }

  private func copyAttachments(
    to sink: any BlockSink, firstTicket: Int
  ) throws(ModelError) {
    var ticket = firstTicket
    for (attachment, parts) in zip(plan.attachments, plan.attachedParts) {
      for (part, index) in zip(parts, attachment.stored) {
        let tensor = attachment.model.reader.stored[index]
        let piece = Attachment.pieceByteCount(of: tensor)
        for start in stride(from: 0, to: tensor.byteCount, by: piece) {
          var bytes = [UInt8](repeating: 0, count: min(piece, tensor.byteCount - start))
          try bytes.change(0..<bytes.count) { (span) throws(ModelError) in
            try attachment.model.reader.read(index, at: start, into: &span)
          }
          try sink.write([PartBlock(stored: part, offset: start, bytes: bytes)], ticket: ticket)
          ticket += 1
        }
      }
    }
  }

  private func copyCompanions(to sink: any BlockSink) throws(ModelError) {
    for (index, companion) in plan.companions.enumerated() {
      if let text = companion.text {
        try sink.writeCompanion(index, at: 0, text)
        continue
      }
      guard let source = companion.source else { continue }
      let byteCount = companion.companion.byteCount
      for start in stride(from: 0, to: byteCount, by: 1 << 20) {
        var bytes = [UInt8](repeating: 0, count: min(1 << 20, byteCount - start))
        try bytes.change(0..<bytes.count) { (span) throws(ModelError) in
          try plan.model.reader.readCompanion(source, at: start, into: &span)
        }
        try sink.writeCompanion(index, at: start, bytes)
      }
    }
  }

  private func sources(_ recordsChecksums: Bool) throws(ModelError) -> [SourceFile] {
    if let provenance = plan.model.reader.provenance { return provenance.sources }
    guard recordsChecksums else { return [] }
    var sources: [SourceFile] = []
    for file in plan.model.reader.files {
      sources.append(
        SourceFile(
          name: file.path.name, byteCount: file.byteCount, checksum: try file.checksum()))
    }
    return sources
  }
}

/// What stopped the workers.
private struct Failure {
  /// The place of the block in the plan.
  var ticket: Int
  var error: ModelError

  /// The failure to tell of: the first in the plan, so that no thread changes it.
  ///
  /// All blocks before one that failed were begun, and come to their end. A stop, which failures cause
  /// too, neither replaces nor is replaced.
  func orEarlier(_ known: Failure?) -> Failure {
    guard let known else { return self }
    let isTold = known.error.kind == .interrupted || error.kind == .interrupted
    return isTold || known.ticket < ticket ? known : self
  }
}

extension TensorPlan {
  /// What a report says of the tensor before anything is measured.
  fileprivate var module: FoldReport.Module {
    var isRounded = false
    if case .quantize = action { isRounded = !source.isGrouped }
    return FoldReport.Module(
      name: source.name, action: action,
      isRoundedAfter: isRounded && changes.contains { $0.groupSize == nil },
      measurement: FoldMeasurement())
  }
}
