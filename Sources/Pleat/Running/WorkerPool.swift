internal import Bytes
internal import Dispatch
internal import Formats
internal import Synchronization
internal import TensorModel

/// Processes blocks of jobs on several threads.
///
/// The output and the report do not depend on which thread processes which block.
struct WorkerPool {
  private let run: Run
  /// A closure that gets what a fold lost in a block, by its ticket, before the block is written.
  var onMeasurement: (@Sendable (Int, FoldMeasurement) -> Void)?
  private var plan: Plan { run.plan }

  init(_ run: Run) { self.run = run }

  /// Transforms blocks and writes them.
  ///
  /// - Parameters:
  ///   - blocks: The blocks, in the order of the plan. The index of a block is its ticket.
  ///   - sink: The sink to write to; nil to measure only.
  /// - Returns: How exactly adapters were folded in; nil if the plan has none.
  /// - Throws: The error of the first block in the plan that fails, or `interrupted`.
  func process(
    _ blocks: [JobBlock], to sink: (any BlockSink)?
  ) throws(ModelError) -> FoldReport? {
    Platform.returnFreedMemory()  // Planning a large model frees as much as workers need.
    let total = blocks.reduce(0) { $0 + plan.jobs[$1.job].sourceByteCount(of: $1.block) }
    let measurements: Mutex<[Int: FoldMeasurement]> = Mutex([:])
    let next = Atomic(0)
    let done = Atomic(0)
    let failure: Mutex<Failure?> = Mutex(nil)
    DispatchQueue.concurrentPerform(iterations: min(run.workerCount, max(1, blocks.count))) { _ in
      let worker = BlockWorker(plan)
      while failure.withLock({ $0 == nil }) {
        let ticket = next.add(1, ordering: .relaxed).oldValue
        guard ticket < blocks.count else { return }
        do throws(ModelError) {
          let block = try process(blocks[ticket], by: worker)
          if let measurement = block.measurement {
            measurements.withLock { $0[ticket] = measurement }
            onMeasurement?(ticket, measurement)
          }
          try sink?.write(block.parts, ticket: ticket)
        } catch {
          failure.withLock { $0 = Failure(ticket: ticket, error: error).orEarlier($0) }
          sink?.abandon()
          return
        }
        guard run.onProgress != nil else { continue }
        let byteCount = plan.jobs[blocks[ticket].job].sourceByteCount(of: blocks[ticket].block)
        report(blocks[ticket], done: done.add(byteCount, ordering: .relaxed).newValue, of: total)
      }
    }
    if let failure = failure.withLock({ $0 }) { throw failure.error }
    let found = measurements.withLock { $0 }
    return plan.foldReport(found.keys.sorted().map { (blocks[$0].job, found[$0]) })
  }

  private func process(
    _ block: JobBlock, by worker: BlockWorker
  ) throws(ModelError) -> BlockWorker.Processed {
    guard !run.cancellation.isRequested else {
      throw ModelError(.interrupted, "stopped on request; nothing was written")
    }
    return try worker.process(plan.jobs[block.job], block: block.block)
  }

  private func report(_ block: JobBlock, done: Int, of total: Int) {
    run.onProgress?(
      Progress(
        byteCount: done, totalByteCount: total, tensorCount: block.job + 1,
        totalTensorCount: plan.jobs.count, tensor: plan.jobs[block.job].source.name))
  }
}

extension Plan {
  /// The report of a fold, from the measurements of blocks in the order of the plan; nil if the plan
  /// folds no adapter.
  ///
  /// They are added up in this order, so that rounding does not depend on threads and parts.
  func foldReport(
    _ measurements: some Sequence<(job: Int, measurement: FoldMeasurement?)>
  ) -> FoldReport? {
    guard !adapters.isEmpty else { return nil }
    let partCount = adapters.reduce(0) { $0 + $1.file.adapter.changes.count }
    var report = FoldReport(partCount: partCount, tensors: [])
    var last: Int?
    for case (let job, let measurement?) in measurements {
      if last != job { report.tensors.append(jobs[job].unmeasuredResult) }
      last = job
      report.tensors[report.tensors.count - 1].measurement.merge(measurement)
    }
    return report
  }
}

/// The error that stopped the workers.
private struct Failure {
  /// The index of the block in the plan.
  var ticket: Int
  var error: ModelError

  /// The failure to report: the one with the earlier block, whichever thread found it.
  ///
  /// All blocks before a failed block were begun and will finish, so the earliest failure is found.
  /// `interrupted` neither replaces a known failure nor is replaced by one, because other workers
  /// throw it too after a failure.
  func orEarlier(_ known: Failure?) -> Failure {
    guard let known else { return self }
    let isCancellation = known.error.kind == .interrupted || error.kind == .interrupted
    return isCancellation || known.ticket < ticket ? known : self
  }
}

extension TensorJob {
  /// The result of the tensor in a report, before anything is measured.
  fileprivate var unmeasuredResult: FoldReport.TensorResult {
    let changes = transform.adapterEdits + transform.offsetMoves
    let isRoundedAfter =
      switch transform {
      case .encode(_, .groups): !source.isGrouped && changes.contains { $0.groupSize == nil }
      case .encode(_, .scaled): !source.isScaled
      case .encode(_, .rows), .copy, .regroup, .rearrange, .moveMinima, .omit: false
      }
    return FoldReport.TensorResult(
      name: source.name, action: action,
      isRoundedAfter: isRoundedAfter,
      measurement: FoldMeasurement())
  }
}
