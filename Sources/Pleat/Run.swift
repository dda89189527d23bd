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

  /// A block of a tensor, in the order of the plan.
  private struct Job {
    var tensor: Int
    var block: Int
  }

  /// Reads, transforms and writes everything, then gives the files their names.
  ///
  /// On failure nothing is left behind. Returns how much was written.
  /// Throws `io`, `malformed`, `unsupported`, and `interrupted` when cancelled.
  @discardableResult
  public func callAsFunction() throws(ModelError) -> WrittenSize {
    let recordsChecksums = plan.format == .pleat && plan.model.reader.provenance == nil
    if recordsChecksums { for file in plan.model.reader.files { file.startChecksum() } }
    let sink = try plan.layout.open(replacing: replaces)
    try copyCompanions(to: sink)
    try runWorkers(sink)
    return try sink.finish(sources: try sources(recordsChecksums))
  }

  private func runWorkers(_ sink: any TensorSink) throws(ModelError) {
    let jobs = plan.blocks.enumerated().flatMap { tensor, cut in
      (0..<cut.blockCount).map { Job(tensor: tensor, block: $0) }
    }
    let total = plan.model.reader.stored.reduce(0) { $0 + $1.byteCount }
    let next = Atomic(0)
    let done = Atomic(0)
    let failure: Mutex<ModelError?> = Mutex(nil)
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
          try sink.write(try worker.process(job.tensor, block: job.block), ticket: ticket)
        } catch {
          failure.withLock { $0 = $0 ?? error }
          sink.abandon()
          return
        }
        guard let onProgress else { continue }
        let cut = plan.blocks[job.tensor]
        let bytes = cut.units(of: job.block).count * cut.source.reduce(0, +)
        onProgress(
          Progress(
            byteCount: done.add(bytes, ordering: .relaxed).newValue, totalByteCount: total,
            tensorCount: job.tensor + 1, totalTensorCount: plan.tensors.count,
            tensor: plan.tensors[job.tensor].source.name))
      }
    }
    if let error = failure.withLock({ $0 }) { throw error }
  }

  private func copyCompanions(to sink: any TensorSink) throws(ModelError) {
    for (index, source) in plan.companions.enumerated() {
      let byteCount = plan.model.catalog.companions[source].byteCount
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
