internal import Dispatch
internal import Kernels
internal import Synchronization
package import TensorModel
internal import Weights

/// Threads that share the parts of a job.
///
/// What they compute does not depend on which does what.
package struct Workers: Sendable {
  /// The number of threads.
  package let count: Int
  /// Called before each part; may throw to stop.
  let checkpoint: @Sendable () throws(ModelError) -> Void

  package init(
    count: Int,
    checkpoint: @escaping @Sendable () throws(ModelError) -> Void = { () throws(ModelError) in }
  ) {
    self.count = max(1, count)
    self.checkpoint = checkpoint
  }

  /// Does the parts of a job, each once.
  ///
  /// Throws the error of the first part that fails.
  func run(
    _ partCount: Int, _ body: @Sendable (Int) throws(ModelError) -> Void
  ) throws(ModelError) {
    try run(partCount, with: ()) { (part, _) throws(ModelError) in try body(part) }
  }

  /// The same, with memory that each thread reuses.
  func run<Scratch>(
    _ partCount: Int, with scratch: @autoclosure @Sendable () -> Scratch,
    _ body: @Sendable (Int, inout Scratch) throws(ModelError) -> Void
  ) throws(ModelError) {
    let next = Atomic(0)
    let failure: Mutex<(part: Int, error: ModelError)?> = Mutex(nil)
    DispatchQueue.concurrentPerform(iterations: min(count, max(1, partCount))) { _ in
      var memory = scratch()
      while failure.withLock({ $0 == nil }) {
        let part = next.add(1, ordering: .relaxed).oldValue
        guard part < partCount else { return }
        do throws(ModelError) {
          try checkpoint()
          try body(part, &memory)
        } catch {
          failure.withLock { if part < $0?.part ?? .max { $0 = (part, error) } }
        }
      }
    }
    if let failure = failure.withLock({ $0 }) { throw failure.error }
  }
}

extension Workers {
  /// The results of a function for 0, 1, … in order, computed on all threads.
  ///
  /// Throws if the checkpoint throws.
  package func map<Result: Sendable>(
    _ count: Int, _ body: @Sendable (Int) -> Result
  ) throws(ModelError) -> [Result] {
    let results: Mutex<[Result?]> = Mutex(Array(repeating: nil, count: count))
    try run(count) { (index) throws(ModelError) in
      let result = body(index)
      results.withLock { $0[index] = result }
    }
    return results.withLock { $0.compactMap(\.self) }
  }

  /// The products of rows with matrices: out[i] = x W[i]ᵀ + b[i].
  ///
  /// - Parameters:
  ///   - x: The inputs: rows with a number for each column of the matrices.
  ///   - rows: The rows to multiply.
  ///   - linears: The matrices, which have the same number of columns.
  /// - Returns: A matrix of rows × outputs for each.
  /// - Throws: What reading weights throws.
  func products(
    of x: FloatMatrix, rows: Range<Int>, with linears: [Linear]
  ) throws(ModelError) -> [FloatMatrix] {
    guard let columns = linears.first?.matrix.columnCount else { return [] }
    let packed = PackedRows(x, rows: rows, columns: 0..<columns)
    let results = linears.map { FloatMatrix(rowCount: rows.count, columnCount: $0.rowCount) }
    let parts = linears.indices.flatMap { index in
      linears[index].matrix.runs.map { (linear: index, rows: $0) }
    }
    try run(parts.count, with: WeightReader.Buffers()) { (part, buffers) throws(ModelError) in
      let (index, run) = parts[part]
      let start = try linears[index].matrix.read(run, into: &buffers)
      packed.multiply(
        buffers.values.span.extracting(start..<start + run.count * columns),
        rowCount: run.count, into: results[index], column: run.lowerBound)
    }
    for (linear, result) in zip(linears, results) {
      guard let bias = linear.bias else { continue }
      for row in 0..<result.rowCount { result.add(bias.span, to: row) }
    }
    return results
  }
}
