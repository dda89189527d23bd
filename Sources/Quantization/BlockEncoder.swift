internal import Kernels
internal import TensorModel

/// Writes rows as blocks of a block type of llama.cpp.
struct BlockEncoder: RowEncoder {
  let type: BlockType
  let method: Method
  let columnCount: Int

  /// How the numbers of a block are chosen.
  enum Method: Sendable, Hashable {
    /// As in `llama-quantize`, to the byte.
    case ggml
    /// By a search that is never worse than that of `ggml` in any block.
    case search(Effort)
  }

  var encoding: Encoding { type.encoding }

  func encode(
    _ values: [Float], weighing importance: ImportanceRows?, into bytes: inout MutableRawSpan
  ) throws(GroupFault) {
    guard let importance else { return try encode(values[...], [], firstBlock: 0, &bytes) }
    let rowByteCount = columnCount / type.elementCount * type.byteCount
    for run in importance.runs {
      let (first, end) = (run.rows.lowerBound, run.rows.upperBound)
      var part = bytes._mutatingExtracting(first * rowByteCount..<end * rowByteCount)
      try encode(
        values[first * columnCount..<end * columnCount], weights(run),
        firstBlock: first * columnCount / type.elementCount, &part)
    }
  }

  private func weights(_ run: ImportanceRows.Run) -> [Float] {
    switch method {
    case .ggml: run.weights.values
    case .search: run.weights.floored
    }
  }

  /// Throws a fault for values that no block of the type can store, however its scale is chosen.
  ///
  /// From there on, the sums of the searches overflow, and llama.cpp writes zeros in some types.
  private func checkRange(_ values: ArraySlice<Float>, firstBlock: Int) throws(GroupFault) {
    let limit: Float = 0x1p29  // above 65504 times the largest product of a scale and a code
    guard type != .mxfp4, largestMagnitude(values.span) >= limit,
      let index = values.firstIndex(where: { $0.isFinite && $0.magnitude >= limit })
    else { return }
    let block = firstBlock + (index - values.startIndex) / type.elementCount
    throw GroupFault(kind: .parameterOverflow, group: block)
  }

  private func encode(
    _ values: ArraySlice<Float>, _ weights: [Float], firstBlock: Int,
    _ bytes: inout MutableRawSpan
  ) throws(GroupFault) {
    // Without a search, the kernel finds such values itself.
    if method != .ggml || !weights.isEmpty || type.groupForm == nil {
      try checkRange(values, firstBlock: firstBlock)
    }
    do throws(GroupFault) {
      switch method {
      case .ggml:
        try type.encodeRows(
          values.span, columnCount: columnCount, importance: weights.span, into: &bytes)
      case .search(let effort):
        try type.searchRows(
          values.span, columnCount: columnCount, importance: weights.span,
          rounds: effort.blockRounds, into: &bytes)
      }
    } catch {
      throw GroupFault(kind: error.kind, group: firstBlock + error.group)
    }
  }
}

extension Effort {
  /// How often the scales and minima of blocks are improved.
  fileprivate var blockRounds: Int {
    switch self {
    case .fast: 1
    case .default: 2
    case .best: 4
    }
  }
}
