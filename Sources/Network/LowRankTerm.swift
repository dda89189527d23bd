internal import Adapters
internal import TensorModel

/// A product that an adapter adds to the outputs of a matrix: y += scale · L (R x).
///
/// Both products are chains of fused multiply-adds. Pooled inputs are the same as an R whose columns
/// are repeated for all inputs of a group.
struct LowRankTerm: Sendable {
  /// The outputs of the matrix that it is added to.
  let outputs: Range<Int>
  /// The number of rows of R.
  var rank: Int { product.rank }
  /// The factor of the product.
  var scale: Float { Float(product.scale) }

  private let change: PairedChange
  private let product: LowRank
  private let expert: Int
  /// The vector of L that belongs to the first of the outputs.
  private let firstVector: Int

  /// The products of adapters with some rows of a tensor, in the order of the changes.
  ///
  /// Nil if a change is no product, or scales rows as DoRA does.
  static func terms(
    _ changes: [PairedChange], ofRows rows: Range<Int>, of shape: Shape
  ) -> [LowRankTerm]? {
    var terms: [LowRankTerm] = []
    for change in changes {
      guard let product = change.lowRank, product.magnitude == nil else { return nil }
      let count = product.left.vectorCount
      let origin = change.window?.lowerBound ?? 0
      let changed = rows.clamped(to: change.window ?? 0..<shape.rowCount)
      guard count > 0, product.rank > 0, !changed.isEmpty else { continue }
      for expert in (changed.lowerBound - origin) / count...(changed.upperBound - 1 - origin)
        / count
      {
        let first = origin + expert * count
        let own = changed.clamped(to: first..<first + count)
        terms.append(
          LowRankTerm(
            outputs: own.lowerBound - rows.lowerBound..<own.upperBound - rows.lowerBound,
            change: change, product: product, expert: expert, firstVector: own.lowerBound - first))
      }
    }
    return terms
  }

  private init(
    outputs: Range<Int>, change: PairedChange, product: LowRank, expert: Int, firstVector: Int
  ) {
    self.outputs = outputs
    self.change = change
    self.product = product
    self.expert = expert
    self.firstVector = firstVector
  }

  /// R, as rank × inputs.
  ///
  /// Throws what reading an adapter throws.
  func right(_ reader: UpdateReader) throws(ModelError) -> [Float] {
    let right = try reader.right(change, product, expert)
    return change.groupSize.map { GroupShift.spread(right, columnsPerGroup: $0) } ?? right
  }

  /// The rows of L for some of the outputs, as outputs × rank.
  ///
  /// Throws what reading an adapter throws.
  func left(_ outputs: Range<Int>, _ reader: UpdateReader) throws(ModelError) -> [Float] {
    let start = firstVector + outputs.lowerBound - self.outputs.lowerBound
    return try reader.left(change, product, vectors: start..<start + outputs.count, expert)
  }
}
