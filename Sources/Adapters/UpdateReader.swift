internal import Bytes
internal import Kernels
package import TensorModel

/// Reads the numbers of an adapter's tensors.
package protocol AdapterNumbers: Sendable {
  /// A range of elements of a tensor, in stored order, as floats.
  ///
  /// Throws `io` and `malformed`.
  func numbers(of tensor: Int, _ elements: Range<Int>) throws(ModelError) -> [Float]
}

/// Computes what adapters add to rows of the base model.
///
/// It caches factors, so each worker has its own.
package final class UpdateReader {
  private let adapters: [(tensors: [TensorInfo], numbers: any AdapterNumbers)]
  /// The tensor of the base model that the caches are for.
  private var cachedTensor: Int?
  private var wholeTensors: [Key: [Float]] = [:]
  private var rightFactors: [Key: [Float]] = [:]

  /// The number of elements of the largest row-major left factor that is cached.
  private static let cacheLimit = 1 << 20

  private struct Key: Hashable {
    var adapter: Int
    var factor: Factor
    var expert = 0
  }

  /// Creates a reader; changes refer to these adapters by index.
  package init(_ adapters: [(tensors: [TensorInfo], numbers: any AdapterNumbers)]) {
    self.adapters = adapters
  }

  /// Adds scale · L · R for a block of rows of the base tensor to `delta`.
  ///
  /// - Parameters:
  ///   - change: The change.
  ///   - product: The product of the change.
  ///   - rows: The rows of the base tensor, counted through all experts of a stack. Rows outside of
  ///     the change's window stay as they are.
  ///   - delta: The result, as rows × columns of R; with pooled inputs, R has a column per group.
  /// - Throws: `io`, `malformed`.
  package func add(
    _ change: PairedChange, _ product: LowRank, rows: Range<Int>, to delta: inout [Float]
  ) throws(ModelError) {
    let width = product.right.vectorCount
    let changed = change.window.map { rows.clamped(to: $0) } ?? rows
    let origin = change.window?.lowerBound ?? 0
    var row = changed.lowerBound
    while row < changed.upperBound {
      let expert = (row - origin) / product.left.vectorCount
      let first = origin + expert * product.left.vectorCount
      let end = min(changed.upperBound, first + product.left.vectorCount)
      let left = try left(change, product, vectors: row - first..<end - first, expert)
      let right = try right(change, product, expert)
      let start = (row - rows.lowerBound) * width
      Self.add(left, right, product, to: &delta, start..<start + (end - row) * width)
      row = end
    }
  }

  /// The factors of a product: rows × rank in the base model's row order, and rank × columns.
  ///
  /// Throws `io`, `malformed`.
  package func factors(
    _ change: PairedChange, _ product: LowRank
  ) throws(ModelError) -> (left: [Float], right: [Float]) {
    (
      try left(change, product, vectors: 0..<product.left.vectorCount, 0),
      try right(change, product, 0)
    )
  }

  /// Some elements of a vector of the adapter, in the base model's row order.
  ///
  /// Throws `io`, `malformed`.
  package func vector(
    _ change: PairedChange, tensor: Int, rows: Range<Int>
  ) throws(ModelError) -> [Float] {
    guard let map = change.rows else {
      return try adapters[change.adapter].numbers.numbers(of: tensor, rows)
    }
    clearCaches(unlessFor: change.tensor)
    let count = adapters[change.adapter].tensors[tensor].shape.elementCount
    let all = try whole(change.adapter, .vectors(tensor, count: count, rank: 1))
    return rows.map { all[map($0)] }
  }

  /// Some rows of a tensor of the adapter, in the base model's row order.
  ///
  /// Throws `io`, `malformed`.
  package func rows(
    _ change: PairedChange, tensor: Int, _ rows: Range<Int>, columnCount: Int
  ) throws(ModelError) -> [Float] {
    let numbers = adapters[change.adapter].numbers
    guard let map = change.rows else {
      return try numbers.numbers(
        of: tensor, rows.lowerBound * columnCount..<rows.upperBound * columnCount)
    }
    // A vector is one row; the map reorders its elements.
    if adapters[change.adapter].tensors[tensor].shape.rank == 1 {
      return try vector(change, tensor: tensor, rows: 0..<columnCount)
    }
    var values: [Float] = []
    for row in rows {
      let start = map(row) * columnCount
      values += try numbers.numbers(of: tensor, start..<start + columnCount)
    }
    return values
  }

  private static func add(
    _ left: [Float], _ right: [Float], _ product: LowRank, to delta: inout [Float],
    _ range: Range<Int>
  ) {
    delta.changeElements(range) {
      LowRankUpdate.add(
        left: left.span, right: right.span, rank: product.rank, scale: Float(product.scale),
        to: &$0)
    }
  }

  // The factors of a tensor are used for all of its blocks, and for no other tensor.
  private func clearCaches(unlessFor tensor: Int) {
    guard cachedTensor != tensor else { return }
    cachedTensor = tensor
    wholeTensors.removeAll(keepingCapacity: true)
    rightFactors.removeAll(keepingCapacity: true)
  }

  /// Some vectors of the left factor of an expert, as vectors × rank, in the base model's row order.
  ///
  /// Throws `io`, `malformed`.
  package func left(
    _ change: PairedChange, _ product: LowRank, vectors: Range<Int>, _ expert: Int
  ) throws(ModelError) -> [Float] {
    clearCaches(unlessFor: change.tensor)
    let (factor, rank) = (product.left, product.rank)
    if factor.rankStride == 1, factor.vectorStride == rank, change.rows == nil {
      let first = factor.offset + expert * factor.expertStride
      let range = first + vectors.lowerBound * rank..<first + vectors.upperBound * rank
      // A small factor is read once, not for each block of rows.
      guard factor.vectorCount * rank > Self.cacheLimit || factor.expertStride > 0 else {
        return Array(try whole(change.adapter, factor)[range])
      }
      return try adapters[change.adapter].numbers.numbers(of: factor.tensor, range)
    }
    let all = try whole(change.adapter, factor)
    var values: [Float] = []
    values.reserveCapacity(vectors.count * rank)
    for vector in vectors {
      let start =
        factor.offset + expert * factor.expertStride
        + (change.rows?(vector) ?? vector) * factor.vectorStride
      for k in 0..<rank { values.append(all[start + k * factor.rankStride]) }
    }
    return values
  }

  /// The right factor of an expert, as rank × vectors.
  ///
  /// Throws `io`, `malformed`.
  package func right(
    _ change: PairedChange, _ product: LowRank, _ expert: Int
  ) throws(ModelError) -> [Float] {
    clearCaches(unlessFor: change.tensor)
    let (factor, rank) = (product.right, product.rank)
    let key = Key(adapter: change.adapter, factor: factor, expert: expert)
    if let known = rightFactors[key] { return known }
    var values: [Float]
    if factor.vectorStride == 1, factor.rankStride == factor.vectorCount {
      let first = factor.offset + expert * factor.expertStride
      values = try adapters[change.adapter].numbers.numbers(
        of: factor.tensor, first..<first + rank * factor.vectorCount)
    } else {
      let all = try whole(change.adapter, factor)
      values = []
      values.reserveCapacity(rank * factor.vectorCount)
      for k in 0..<rank {
        let start = factor.offset + expert * factor.expertStride + k * factor.rankStride
        for vector in 0..<factor.vectorCount {
          values.append(all[start + vector * factor.vectorStride])
        }
      }
    }
    // Experts are processed in order. Only the factors of the current one are kept.
    rightFactors = rightFactors.filter { $0.key.expert == expert }
    rightFactors[key] = values
    return values
  }

  /// All numbers of the tensor that holds a factor.
  private func whole(_ adapter: Int, _ factor: Factor) throws(ModelError) -> [Float] {
    let key = Key(adapter: adapter, factor: factor)
    if let known = wholeTensors[key] { return known }
    let count = adapters[adapter].tensors[factor.tensor].shape.elementCount
    let values = try adapters[adapter].numbers.numbers(of: factor.tensor, 0..<count)
    wholeTensors[key] = values
    return values
  }
}
