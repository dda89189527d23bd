internal import CKernels

/// The product of two thin matrices, as an adapter stores its change of a weight.
package enum LowRankUpdate {
  /// Adds `scale · left · right` to `delta`; matrices are row after row.
  ///
  /// Each sum starts at 0 and takes left[i, k] · right[k, j] for k = 0, 1, …; then
  /// delta[i, j] = delta[i, j] + scale · sum. All is float32, each operation rounded on its own, so
  /// the result does not depend on how rows or columns are shared out. A NaN is always `Float.nan`.
  /// Nothing is allocated.
  ///
  /// - Parameters:
  ///   - left: rows × rank.
  ///   - right: rank × columns.
  ///   - rank: With 0 there is nothing to add, and `delta` stays as it is to the bit.
  ///   - scale: What each sum is multiplied by.
  ///   - delta: rows × columns, added to.
  ///   - instructions: The path to take.
  package static func add(
    left: Span<Float>, right: Span<Float>, rank: Int, scale: Float,
    to delta: inout MutableSpan<Float>, on instructions: InstructionSet = .best
  ) {
    precondition(rank >= 0, "expected a rank of 0 or more")
    guard rank > 0 else {
      precondition(left.isEmpty && right.isEmpty, "expected empty matrices for rank 0")
      return
    }
    let (rows, columns) = (left.count / rank, right.count / rank)
    precondition(left.count == rows * rank, "expected whole rows of left")
    precondition(right.count == columns * rank, "expected whole columns of right")
    precondition(delta.count == rows * columns, "expected rows × columns of delta")
    // In bounds by the preconditions: three matrices of rows × rank × columns.
    unsafe left.withUnsafeBufferPointer { left in
      unsafe right.withUnsafeBufferPointer { right in
        unsafe delta.withUnsafeMutableBufferPointer { delta in
          unsafe pleat_add_low_rank(
            instructions.identifier, left.baseAddress, right.baseAddress, rows, columns, rank,
            scale, delta.baseAddress)
        }
      }
    }
  }
}
