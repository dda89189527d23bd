internal import CKernels

extension BlockType {
  /// Encodes rows of weights as llama-quantize does on x86-64, with the same bytes.
  ///
  /// With the importance of columns, the weighted errors of the values are minimized. Q8_0, TQ1_0,
  /// TQ2_0 and MXFP4 do not use it. The sources are the functions `quantize_row_q4_K_ref`,
  /// `quantize_row_q4_K_impl` and their siblings in ggml/src/ggml-quants.c.
  ///
  /// - Q2_K, Q4_K, Q5_K: each sub-block is w ≈ scale · code + minimum with minimum ≤ 0. Several
  ///   ranges are tried from its minimum to its maximum; a trial rounds the values to codes, then
  ///   fits scale and minimum by least squares. The best is kept. Scales and minima are then
  ///   rounded to integers times a float16 each, and the codes are computed again from these. The
  ///   error of w counts |w|, plus in Q4_K and Q5_K the root mean square of the sub-block; with
  ///   importance it counts importance · √(w² + mean square of the block; in Q4_K and Q5_K twice).
  /// - Q4_1 and Q5_1 with importance: the same search for each block. Scale and minimum are rounded
  ///   to float16, and the codes of the search are kept. The mean square is that of the row.
  /// - Q3_K, Q6_K: each sub-block is w ≈ scale · l, with whole numbers l from −z to z − 1. 19 scales
  ///   near m / −z are tried, where m is the first value of largest magnitude; each is fitted to its
  ///   l by least squares. Scales are then rounded to integers times a float16, and the codes are
  ///   computed again. Without importance, the error of w counts w², and Q3_K improves one l at a
  ///   time instead. With importance it counts importance, and in Q3_K also
  ///   √(w² + 2 · mean square of the block); then the float16 is found by a search too.
  /// - IQ4_NL, IQ4_XS: 16 scales, one of the other sign. The error counts w², or
  ///   importance · √(w² + 2 · mean square of the block). Codes are those of the unrounded float16.
  /// - Q4_0 and Q5_0 with importance: the search of Q3_K for each block, with the mean square of the
  ///   row, and without the factor 2. The codes of the search are kept.
  /// - TQ1_0, TQ2_0: scale = max |w|, digit = w / scale, rounded half away from zero.
  /// - MXFP4: scale = 2^(⌊log2 max |w|⌋ − 2), and the nearest values.
  /// - Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 without importance: as `encode` and `pack`.
  ///
  /// The type must be one that Pleat makes (`isEncodable`).
  ///
  /// From magnitudes of 1e13 on the sums of the searches overflow, and blocks can be all zeros, as
  /// in llama.cpp.
  ///
  /// - Parameters:
  ///   - values: rows × `columnCount` floats.
  ///   - columnCount: The number of columns, whole blocks.
  ///   - importance: One weight for each column, finite and not negative; empty if there is none.
  ///   - blocks: Receives the blocks of all rows, at any alignment.
  ///   - instructions: The instruction set to use.
  /// - Throws: `GroupFault`, counting blocks; the output is then meaningless.
  package func encodeRows(
    _ values: Span<Float>, columnCount: Int, importance: Span<Float>,
    into blocks: inout MutableRawSpan, on instructions: InstructionSet = .best
  ) throws(GroupFault) {
    let rows = rowCount(values, columnCount, importance, blocks.byteCount)
    // In bounds: `rowCount` checks that the counts fit each other.
    let outcome = unsafe values.withUnsafeBufferPointer { values in
      unsafe importance.withUnsafeBufferPointer { importance in
        unsafe blocks.withUnsafeMutableBytes { blocks in
          unsafe pleat_ggml_encode_rows(
            instructions.identifier, rawValue, values.baseAddress, rows, columnCount,
            importance.isEmpty ? nil : importance.baseAddress, blocks.baseAddress)
        }
      }
    }
    if let fault = GroupFault(outcome: outcome) { throw fault }
  }

  /// Encodes rows of weights in the same blocks, with smaller errors than `encodeRows`.
  ///
  /// It minimizes Σ ω · (w − w′)² over each block, where w′ is the decoded value. ω is the
  /// importance of the column divided by its mean over the block, at least 1e-6, or 1 without
  /// importance. A step that does not make the error smaller is undone, so the error is never above
  /// that of `encodeRows`.
  ///
  /// In Q2_K, Q4_K and Q5_K it starts from the block of `encodeRows`, or from that of a short search
  /// with these weights. In each round it moves the codes of the scale and of the minimum of each
  /// sub-block by up to 2, and then fits both numbers of the block by least squares.
  ///
  /// In Q3_K, Q6_K and IQ4_XS it starts from the block of `encodeRows`, or from the best scales of
  /// both signs and the float16 that fits them best; the rounds are the same, without minima. In
  /// IQ4_NL it tries scales of both signs, and fits the best one in each round. In TQ1_0 and TQ2_0
  /// the scale is a weighted mean of the magnitudes of at least half the scale. In MXFP4 the
  /// neighboring exponents are tried. Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 store groups, which
  /// `GroupKernel` searches, and get the blocks of `encodeRows` here.
  ///
  /// - Parameters:
  ///   - values: rows × `columnCount` floats.
  ///   - columnCount: The number of columns, whole blocks.
  ///   - importance: One weight for each column, finite and not negative; empty if there is none.
  ///   - rounds: How often to improve the blocks, at least once; more than 3 rounds gain little.
  ///   - blocks: Receives the blocks of all rows, at any alignment.
  ///   - instructions: The instruction set to use.
  /// - Throws: `GroupFault`, counting blocks; the output is then meaningless.
  package func searchRows(
    _ values: Span<Float>, columnCount: Int, importance: Span<Float>, rounds: Int = 2,
    into blocks: inout MutableRawSpan, on instructions: InstructionSet = .best
  ) throws(GroupFault) {
    precondition((1...1000).contains(rounds), "expected at least one round")
    let rows = rowCount(values, columnCount, importance, blocks.byteCount)
    // In bounds: `rowCount` checks that the counts fit each other.
    let outcome = unsafe values.withUnsafeBufferPointer { values in
      unsafe importance.withUnsafeBufferPointer { importance in
        unsafe blocks.withUnsafeMutableBytes { blocks in
          unsafe pleat_ggml_search_rows(
            instructions.identifier, rawValue, Int32(rounds), values.baseAddress, rows,
            columnCount, importance.isEmpty ? nil : importance.baseAddress, blocks.baseAddress)
        }
      }
    }
    if let fault = GroupFault(outcome: outcome) { throw fault }
  }

  private func rowCount(
    _ values: Span<Float>, _ columnCount: Int, _ importance: Span<Float>, _ byteCount: Int
  ) -> Int {
    precondition(isEncodable, "no encoder for block type \(self)")
    precondition(columnCount > 0 && columnCount % elementCount == 0, "expected whole blocks")
    precondition(values.count % columnCount == 0, "expected whole rows")
    precondition(
      importance.isEmpty || importance.count == columnCount, "expected one weight per column")
    precondition(
      byteCount == values.count / elementCount * self.byteCount, "expected room for all blocks")
    return values.count / columnCount
  }
}
