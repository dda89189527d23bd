internal import Dispatch
internal import Kernels
internal import Synchronization
package import TensorModel

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
  /// The least number of rows that are worth a thread of their own.
  private static let rowsOfThread = 8

  /// Does something for each row of matrices, on several threads if there are many.
  func eachRow(of rowCount: Int, _ body: @Sendable (Int) -> Void) {
    let shares = min(count, rowCount / Self.rowsOfThread)
    guard shares > 1 else {
      for row in 0..<rowCount { body(row) }
      return
    }
    DispatchQueue.concurrentPerform(iterations: shares) { share in
      for row in rowCount * share / shares..<rowCount * (share + 1) / shares { body(row) }
    }
  }

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
  ///   - kept: Weights in memory, for products of one row; nil to read them.
  /// - Returns: A matrix of rows × outputs for each.
  /// - Throws: What reading weights throws.
  func products(
    of x: FloatMatrix, rows: Range<Int>, with linears: [Linear], keeping kept: KeptWeights? = nil
  ) throws(ModelError) -> [FloatMatrix] {
    guard let columns = linears.first?.matrix.columnCount else { return [] }
    // Products with columns set every number.
    let results = linears.map {
      FloatMatrix(rowCount: rows.count, columnCount: $0.rowCount, isZero: columns == 0)
    }
    var rest = Array(linears.indices)
    if let kept, rows.count == 1 {
      var matrices: [(linear: Int, matrix: PackedMatrix)] = []
      for index in linears.indices {
        guard let matrix = try kept.packed(linears[index].matrix, by: self) else { continue }
        matrices.append((index, matrix))
      }
      rest.removeAll { index in matrices.contains { $0.linear == index } }
      try multiply(x, row: rows.lowerBound, by: matrices, into: results)
    }
    if !rest.isEmpty {
      try multiply(
        PackedRows(x, rows: rows, columns: 0..<columns), by: rest.map { ($0, linears[$0].matrix) },
        into: results)
    }
    for (linear, result) in zip(linears, results) {
      guard let bias = linear.bias else { continue }
      eachRow(of: result.rowCount) { result.add(bias.span, to: $0) }
    }
    return results
  }

  /// The products of several inputs, each with its own matrix.
  ///
  /// Throws what reading weights throws.
  func products(
    of inputs: [FloatMatrix], with linears: [Linear], keeping kept: KeptWeights? = nil
  ) throws(ModelError) -> [FloatMatrix] {
    let alone = Workers(count: 1, checkpoint: checkpoint)
    let results: Mutex<[Int: FloatMatrix]> = Mutex([:])
    try run(linears.count) { (index) throws(ModelError) in
      let x = inputs[index]
      let result = try alone.products(
        of: x, rows: 0..<x.rowCount, with: [linears[index]], keeping: kept)
      results.withLock { $0[index] = result[0] }
    }
    return results.withLock { found in linears.indices.compactMap { found[$0] } }
  }

  /// The products of a row with matrices in memory.
  private func multiply(
    _ x: FloatMatrix, row: Int, by matrices: [(linear: Int, matrix: PackedMatrix)],
    into results: [FloatMatrix]
  ) throws(ModelError) {
    let parts = matrices.flatMap { index, matrix in
      // About as much work as it costs to share it.
      let step = PackedMatrix.rowsInStep
      let count = max(1, (1 << 16) / matrix.columnCount / step) * step
      return stride(from: 0, to: matrix.rowCount, by: count).map {
        (linear: index, matrix: matrix, rows: $0..<min($0 + count, matrix.rowCount))
      }
    }
    try run(parts.count) { (part) throws(ModelError) in
      let part = parts[part]
      part.matrix.multiply(
        x, row: row, rows: part.rows, into: results[part.linear], row: 0,
        column: part.rows.lowerBound)
    }
  }

  /// The products of rows with matrices that are read run by run.
  private func multiply(
    _ packed: PackedRows, by matrices: [(linear: Int, matrix: WeightMatrix)],
    into results: [FloatMatrix]
  ) throws(ModelError) {
    let terms = try innerProducts(of: packed, with: matrices.map(\.matrix))
    let parts = matrices.indices.flatMap { index in
      matrices[index].matrix.runs(multiple: PackedRows.widestPanel).map { (index: index, rows: $0) }
    }
    try run(parts.count, with: WeightMatrix.Buffers()) { (part, buffers) throws(ModelError) in
      let (index, rows) = parts[part]
      let (linear, matrix) = matrices[index]
      let start = try matrix.read(rows, into: &buffers)
      packed.multiply(
        buffers.values.span.extracting(start..<start + rows.count * matrix.columnCount),
        rowCount: rows.count, into: results[linear], column: rows.lowerBound)
      for (term, inner) in terms[index].enumerated() {
        try matrix.add(inner, term: term, rows: rows, to: results[linear], with: &buffers)
      }
    }
  }

  /// The inputs of the low-rank products that adapters add to each of some matrices.
  private func innerProducts(
    of x: PackedRows, with matrices: [WeightMatrix]
  ) throws(ModelError) -> [[PackedRows]] {
    let parts = matrices.indices.flatMap { index in
      matrices[index].terms.indices.map { (matrix: index, term: $0) }
    }
    guard !parts.isEmpty else { return Array(repeating: [], count: matrices.count) }
    let found: Mutex<[PackedRows?]> = Mutex(Array(repeating: nil, count: parts.count))
    try run(parts.count, with: WeightMatrix.Buffers()) { (part, buffers) throws(ModelError) in
      let (matrix, term) = parts[part]
      let inner = try matrices[matrix].innerProducts(of: x, term: term, with: &buffers)
      found.withLock { $0[part] = inner }
    }
    var results: [[PackedRows]] = Array(repeating: [], count: matrices.count)
    for (part, inner) in zip(parts, found.withLock({ $0.compactMap(\.self) })) {
      results[part.matrix].append(inner)
    }
    return results
  }
}
