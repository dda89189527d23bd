internal import Pleat

/// The table of the parts of a plan, for `--dry-run --parts`.
struct PartsText {
  private let plan: Plan
  private let parts: PlanParts
  private let workerCount: Int
  private let console: Console

  /// The number of worker threads that memory is stated for without `--threads`; those of this
  /// machine say nothing about the machines that run the parts.
  static let usualWorkerCount = 2

  /// Throws `usage` for a number of parts that is not possible.
  init(_ plan: Plan, count: Int, workerCount: Int, _ console: Console) throws(ModelError) {
    self.plan = plan
    parts = try PlanParts(plan, count: count)
    self.workerCount = workerCount
    self.console = console
  }

  /// Prints the table, or the plan with its parts as JSON.
  func callAsFunction() {
    console.print([], json: plan.json(parts, workerCount: workerCount))
    console.print(table, [slowest])
  }

  private var table: Table {
    var table = Table(Array(repeating: .right, count: 6), rowCount: parts.parts.count + 1)
    table.add("part", "tensors", "reads", "writes", "one thread", "memory")
    for part in parts.parts {
      table.add(
        "\(part.number)", Quantities.exact(part.tensorCount),
        Quantities.bytes(part.sourceByteCount), Quantities.bytes(part.targetByteCount),
        Quantities.seconds(part.seconds),
        Quantities.bytes(parts.memoryByteCount(of: part, workerCount: workerCount)))
    }
    return table
  }

  private var slowest: String {
    let seconds = parts.parts.map(\.seconds)
    let mean = seconds.reduce(0, +) / Double(seconds.count)
    let most = seconds.max() ?? 0
    let excess = mean > 0 ? Quantities.fixed((most / mean - 1) * 100, 1) : "0.0"
    return "the longest part takes \(excess) % more time than the mean; "
      + "seconds at 1 GB/s for reading and writing, to compare parts; "
      + "memory with \(Quantities.number(workerCount, of: "thread"))"
  }
}
