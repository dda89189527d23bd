internal import CKernels

/// The product of two low-rank factors, in which an adapter stores its update of a weight.
package enum LowRankUpdate {
  /// Adds `scale · left · right` to `delta`; all matrices are row-major.
  ///
  /// Each sum starts at 0 and adds left[i, k] · right[k, j] for k = 0, 1, … in this order. Then
  /// delta[i, j] = delta[i, j] + scale · sum. All arithmetic is float32 and each operation is
  /// rounded separately, so the result does not depend on how rows or columns are divided among
  /// workers. A NaN result is always `Float.nan`. Nothing is allocated.
  ///
  /// - Parameters:
  ///   - left: rows × rank.
  ///   - right: rank × columns.
  ///   - rank: The rank of the product; 0 leaves every bit of `delta` unchanged.
  ///   - scale: The factor for each sum.
  ///   - delta: rows × columns, changed in place.
  ///   - instructions: The instruction set to use.
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
    // In bounds by the preconditions, which check the sizes of the three matrices.
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
