internal import Bytes
internal import Kernels
package import TensorModel

/// The numbers of an adapter's tensors.
package protocol AdapterNumbers: Sendable {
  /// Some elements of a tensor in their order, as floats.
  ///
  /// Throws `io` and `malformed`.
  func numbers(of tensor: Int, _ elements: Range<Int>) throws(ModelError) -> [Float]
}

/// Computes what adapters add to rows of a base; one for each worker, since it keeps factors.
package final class UpdateReader {
  private let adapters: [(tensors: [TensorInfo], numbers: any AdapterNumbers)]
  private var base: Int?
  private var wholes: [Key: [Float]] = [:]
  private var rights: [Key: [Float]] = [:]

  /// The numbers of a factor, at the most, that each worker keeps.
  private static let wholeCount = 1 << 20

  private struct Key: Hashable {
    var adapter: Int
    var factor: Factor
    var expert = 0
  }

  /// A reader for the adapters that changes refer to by index.
  package init(_ adapters: [(tensors: [TensorInfo], numbers: any AdapterNumbers)]) {
    self.adapters = adapters
  }

  /// Adds scale · L · R for some rows of the base to `delta`.
  ///
  /// - Parameters:
  ///   - change: The change.
  ///   - product: Its product.
  ///   - rows: Rows of the base, counted through all experts of a stack.
  ///   - delta: rows × the columns of R; the number of groups where inputs are pooled.
  /// - Throws: `io`, `malformed`.
  package func add(
    _ change: PairedChange, _ product: LowRank, rows: Range<Int>, to delta: inout [Float]
  ) throws(ModelError) {
    forgetOthers(than: change.tensor)
    let width = product.right.lineCount
    var row = rows.lowerBound
    while row < rows.upperBound {
      let expert = row / product.left.lineCount
      let first = expert * product.left.lineCount
      let end = min(rows.upperBound, first + product.left.lineCount)
      let left = try left(change, product, lines: row - first..<end - first, expert)
      let right = try right(change, product, expert)
      let start = (row - rows.lowerBound) * width
      Self.add(left, right, product, to: &delta, start..<start + (end - row) * width)
      row = end
    }
  }

  /// The factors of a product: rows × rank in the order of the base, and rank × columns.
  ///
  /// Throws `io`, `malformed`.
  package func factors(
    _ change: PairedChange, _ product: LowRank
  ) throws(ModelError) -> (left: [Float], right: [Float]) {
    forgetOthers(than: change.tensor)
    return (
      try left(change, product, lines: 0..<product.left.lineCount, 0),
      try right(change, product, 0)
    )
  }

  /// A vector of the adapter in the order of the base's rows.
  ///
  /// Throws `io`, `malformed`.
  package func vector(
    _ change: PairedChange, tensor: Int, rows: Range<Int>
  ) throws(ModelError) -> [Float] {
    guard let map = change.rows else {
      return try adapters[change.adapter].numbers.numbers(of: tensor, rows)
    }
    forgetOthers(than: change.tensor)
    let count = adapters[change.adapter].tensors[tensor].shape.elementCount
    let all = try whole(change.adapter, .lines(tensor, count: count, rank: 1))
    return rows.map { all[map($0)] }
  }

  /// Rows of a tensor of the adapter, in the order of the base.
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
    // A vector is one row, and its elements are what the map moves.
    if adapters[change.adapter].tensors[tensor].shape.rank == 1 {
      return try vector(change, tensor: tensor, rows: 0..<columnCount)
    }
    var values: [Float] = []
    for row in rows {
      let place = map(row) * columnCount
      values += try numbers.numbers(of: tensor, place..<place + columnCount)
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

  // Factors of one tensor of the base are used for all its blocks, and for no other.
  private func forgetOthers(than tensor: Int) {
    guard base != tensor else { return }
    base = tensor
    wholes.removeAll(keepingCapacity: true)
    rights.removeAll(keepingCapacity: true)
  }

  /// Lines × rank numbers of a left factor.
  private func left(
    _ change: PairedChange, _ product: LowRank, lines: Range<Int>, _ expert: Int
  ) throws(ModelError) -> [Float] {
    let (factor, rank) = (product.left, product.rank)
    if factor.rankStride == 1, factor.lineStride == rank, change.rows == nil {
      let first = expert * factor.expertStride
      let range = first + lines.lowerBound * rank..<first + lines.upperBound * rank
      // One that is small is read once, not for each run of rows.
      guard factor.lineCount * rank > Self.wholeCount || factor.expertStride > 0 else {
        return Array(try whole(change.adapter, factor)[range])
      }
      return try adapters[change.adapter].numbers.numbers(of: factor.tensor, range)
    }
    let all = try whole(change.adapter, factor)
    var values: [Float] = []
    values.reserveCapacity(lines.count * rank)
    for line in lines {
      let place =
        expert * factor.expertStride + (change.rows?(line) ?? line) * factor.lineStride
      for k in 0..<rank { values.append(all[place + k * factor.rankStride]) }
    }
    return values
  }

  /// Rank × lines numbers of a right factor.
  private func right(
    _ change: PairedChange, _ product: LowRank, _ expert: Int
  ) throws(ModelError) -> [Float] {
    let (factor, rank) = (product.right, product.rank)
    let key = Key(adapter: change.adapter, factor: factor, expert: expert)
    if let known = rights[key] { return known }
    var values: [Float]
    if factor.lineStride == 1, factor.rankStride == factor.lineCount {
      let first = expert * factor.expertStride
      values = try adapters[change.adapter].numbers.numbers(
        of: factor.tensor, first..<first + rank * factor.lineCount)
    } else {
      let all = try whole(change.adapter, factor)
      values = []
      values.reserveCapacity(rank * factor.lineCount)
      for k in 0..<rank {
        let place = expert * factor.expertStride + k * factor.rankStride
        for line in 0..<factor.lineCount { values.append(all[place + line * factor.lineStride]) }
      }
    }
    // The experts of a stack come one after the other.
    rights = rights.filter { $0.key.expert == expert }
    rights[key] = values
    return values
  }

  private func whole(_ adapter: Int, _ factor: Factor) throws(ModelError) -> [Float] {
    let key = Key(adapter: adapter, factor: factor)
    if let known = wholes[key] { return known }
    let count = adapters[adapter].tensors[factor.tensor].shape.elementCount
    let values = try adapters[adapter].numbers.numbers(of: factor.tensor, 0..<count)
    wholes[key] = values
    return values
  }
}
