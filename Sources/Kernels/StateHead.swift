internal import CKernels

/// A head of a layer that brings the numbers of earlier tokens to a token through a state: a matrix
/// with a row for each number of a key and a column for each number of a value.
///
///     S ← decay · S + k ⊗ rate · (v − decay · Sᵀk)      with `corrects`, else without the last term
///     out = Sᵀ q
///
/// Each sum is one chain of fused multiply-adds, so that no bit depends on the instruction set, or on
/// how the tokens of a text are divided among calls.
package struct StateHead: Sendable, Hashable {
  /// The number of numbers of a key, and of a query.
  package var keySize: Int
  /// The number of numbers of a value.
  package var valueSize: Int
  /// Whether what the state already gives for a key is subtracted from its value: the delta rule.
  package var corrects: Bool

  package init(keySize: Int, valueSize: Int, corrects: Bool) {
    self.keySize = keySize
    self.valueSize = valueSize
    self.corrects = corrects
  }

  /// The number of numbers that a state takes, with columns that fill up the last ones.
  package var stateCount: Int {
    let step = Int(PLEAT_STATE_COLUMNS)
    return (valueSize + step - 1) / step * step * keySize
  }

  /// The first columns of the queries, keys and values of a head in a matrix.
  package struct Columns: Sendable {
    package var query: Int
    package var key: Int
    package var value: Int

    package init(query: Int, key: Int, value: Int) {
      (self.query, self.key, self.value) = (query, key, value)
    }
  }

  /// Computes the outputs of some tokens, one after the other.
  ///
  /// - Parameters:
  ///   - inputs: Rows with the query, the key and the value of each token.
  ///   - rows: Those of the tokens.
  ///   - columns: Where queries, keys and values are in them.
  ///   - decays: What the state is multiplied by, for each of the tokens.
  ///   - rates: What is added is multiplied by, for each of the tokens.
  ///   - state: A matrix of states, each a row of `stateCount` numbers.
  ///   - stateRow: The row of the state, which is changed.
  ///   - out: Receives the outputs, in the same rows.
  ///   - column: The first of `valueSize` columns there.
  ///   - instructions: The instruction set to use.
  package func run(
    _ inputs: FloatMatrix, rows: Range<Int>, _ columns: Columns, decays: [Float], rates: [Float],
    state: FloatMatrix, stateRow: Int, into out: FloatMatrix, column: Int,
    on instructions: InstructionSet = .best
  ) {
    guard !rows.isEmpty else { return }
    precondition(
      decays.count == rows.count && rates.count == rows.count, "expected a number for each token")
    func address(_ column: Int, _ count: Int) -> UnsafeMutablePointer<Float> {
      unsafe inputs.address(
        row: rows.lowerBound, column: column, lastRow: rows.upperBound - 1,
        lastColumn: column + count - 1)
    }
    let (queries, keys, values) = unsafe (
      address(columns.query, keySize), address(columns.key, keySize),
      address(columns.value, valueSize)
    )
    let numbers = unsafe state.address(
      row: stateRow, lastRow: stateRow, lastColumn: stateCount - 1)
    let target = unsafe out.address(
      row: rows.lowerBound, column: column, lastRow: rows.upperBound - 1,
      lastColumn: column + valueSize - 1)
    // In bounds by the checks above.
    unsafe decays.withUnsafeBufferPointer { decays in
      unsafe rates.withUnsafeBufferPointer { rates in
        var inputs = unsafe pleat_head_inputs(
          queries: queries, keys: keys, values: values, stride: inputs.rowStride,
          count: rows.count, decays: decays.baseAddress, rates: rates.baseAddress)
        unsafe pleat_recur(
          instructions.identifier, corrects, &inputs, keySize, valueSize, numbers, target,
          out.rowStride)
      }
    }
  }
}

extension FloatMatrix {
  /// Adds the products of the numbers of two rows of other matrices to a row, each rounded once.
  package func addProducts(
    of one: FloatMatrix, row first: Int, _ other: FloatMatrix, row second: Int, to row: Int,
    on instructions: InstructionSet = .best
  ) {
    let last = columnCount - 1
    unsafe pleat_add_products(
      instructions.identifier, one.address(row: first, lastRow: first, lastColumn: last),
      other.address(row: second, lastRow: second, lastColumn: last), columnCount,
      address(row: row, lastRow: row, lastColumn: last))
  }
}
