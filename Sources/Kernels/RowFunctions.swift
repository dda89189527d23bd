internal import CKernels

/// A function of single numbers, such as that between the matrices of a feed-forward network.
package enum ActivationFunction: Sendable, Hashable, CaseIterable {
  /// x · sigmoid(x).
  case silu
  /// 1 / (1 + e⁻ˣ).
  case sigmoid
  /// The Gaussian error linear unit, approximated with the hyperbolic tangent.
  case geluTanh
  /// The rectified linear unit.
  case relu
  /// Its square.
  case squaredReLU
  /// ln(1 + eˣ).
  case softplus

  var identifier: pleat_activation {
    switch self {
    case .silu: PLEAT_SILU
    case .sigmoid: PLEAT_SIGMOID
    case .geluTanh: PLEAT_GELU_TANH
    case .relu: PLEAT_RELU
    case .squaredReLU: PLEAT_SQUARED_RELU
    case .softplus: PLEAT_SOFTPLUS
    }
  }
}

/// The expanded integral of the exponential linear unit (arXiv 2411.13010): slope · x, plus
/// above · x² for x > 0, or below · (e^min(x, limit) − 1 − x) for others.
package struct ExpandedUnit: Sendable, Hashable {
  package var above: Float
  package var below: Float
  package var slope: Float
  package var limit: Float

  package init(above: Float, below: Float, slope: Float, limit: Float) {
    self.above = above
    self.below = below
    self.slope = slope
    self.limit = limit
  }
}

/// The norm of a row: (x − mean) / √(variance + epsilon) · (weights + addend) + biases.
package struct RowNorm: Sendable {
  /// Whether the mean is subtracted; otherwise the variance is the mean square.
  package var subtractsMean: Bool
  /// The number that is added to the variance.
  package var epsilon: Double
  /// The weights; nil for ones.
  package var weights: [Float]?
  /// What is added to the weights.
  package var addend: Float
  /// The biases; nil for none.
  package var biases: [Float]?

  package init(
    subtractsMean: Bool, epsilon: Double, weights: [Float]?, addend: Float = 0,
    biases: [Float]? = nil
  ) {
    self.subtractsMean = subtractsMean
    self.epsilon = epsilon
    self.weights = weights
    self.addend = addend
    self.biases = biases
  }
}

/// Functions of the rows of a matrix; sums have a fixed order, so that no bit depends on the
/// instruction set or on other rows.
extension FloatMatrix {
  /// Writes the norms of some columns of a row to the same columns of a row of `out`.
  package func norm(
    row: Int, columns: Range<Int>, by norm: RowNorm, into out: FloatMatrix,
    on instructions: InstructionSet = .best
  ) {
    precondition(norm.weights.map { $0.count == columns.count } ?? true, "expected a weight each")
    precondition(norm.biases.map { $0.count == columns.count } ?? true, "expected a bias each")
    let source = unsafe address(
      row: row, column: columns.lowerBound, lastRow: row, lastColumn: columns.upperBound - 1)
    let target = unsafe out.address(
      row: row, column: columns.lowerBound, lastRow: row, lastColumn: columns.upperBound - 1)
    unsafe Self.pointers(norm.weights, norm.biases) { weights, biases in
      unsafe pleat_norm(
        instructions.identifier, norm.subtractsMean, source, weights, biases, columns.count,
        norm.addend, norm.epsilon, target)
    }
  }

  private static func pointers(
    _ first: [Float]?, _ second: [Float]?,
    _ body: (UnsafePointer<Float>?, UnsafePointer<Float>?) -> Void
  ) {
    unsafe (first ?? []).withUnsafeBufferPointer { one in
      unsafe (second ?? []).withUnsafeBufferPointer { two in
        unsafe body(
          first == nil ? nil : one.baseAddress, second == nil ? nil : two.baseAddress)
      }
    }
  }

  /// Applies a function to some columns of a row, and multiplies by the numbers of another row.
  package func activate(
    row: Int, columns: Range<Int>, _ function: ActivationFunction,
    times factors: FloatMatrix? = nil, factorColumn: Int = 0,
    on instructions: InstructionSet = .best
  ) {
    let values = unsafe address(
      row: row, column: columns.lowerBound, lastRow: row, lastColumn: columns.upperBound - 1)
    let others = unsafe factors?.address(
      row: row, column: factorColumn, lastRow: row, lastColumn: factorColumn + columns.count - 1)
    unsafe pleat_activate(
      instructions.identifier, function.identifier, values, others, columns.count)
  }

  /// Applies the gate of gpt-oss to a row, with the numbers y of a row of another matrix:
  /// x becomes (y + 1) · x · sigmoid(scale · x), after x is limited to at most `limit`, and y to ± it.
  package func gate(
    row: Int, by factors: FloatMatrix, scale: Float, limit: Float,
    on instructions: InstructionSet = .best
  ) {
    precondition(factors.columnCount == columnCount, "expected a factor each")
    let last = columnCount - 1
    unsafe pleat_clamped_gate(
      instructions.identifier, address(row: row, lastRow: row, lastColumn: last),
      factors.address(row: row, lastRow: row, lastColumn: last), columnCount, scale, limit)
  }

  /// Applies an expanded integral of the exponential linear unit to the numbers of a row.
  package func activate(
    row: Int, _ function: ExpandedUnit, on instructions: InstructionSet = .best
  ) {
    unsafe pleat_xielu(
      instructions.identifier, address(row: row, lastRow: row, lastColumn: columnCount - 1),
      columnCount, function.above, function.below, function.slope, function.limit)
  }

  /// Limits numbers of a row to ± a number: x becomes limit · tanh(scale · x / limit).
  package func cap(
    row: Int, columns: Range<Int>, to limit: Float, scale: Float = 1,
    on instructions: InstructionSet = .best
  ) {
    unsafe pleat_cap(
      instructions.identifier,
      address(
        row: row, column: columns.lowerBound, lastRow: row, lastColumn: columns.upperBound - 1),
      columns.count, scale, limit)
  }

  /// Replaces some columns of a row by the softmax of `scale` times their numbers, and all others
  /// by 0.
  package func softmax(
    row: Int, columns: Range<Int>, scale: Float = 1, on instructions: InstructionSet = .best
  ) {
    precondition(!columns.isEmpty, "expected a number")
    let start = unsafe address(row: row, lastRow: row, lastColumn: columnCount - 1)
    precondition(columns.lowerBound >= 0 && columns.upperBound <= columnCount)
    unsafe pleat_softmax(
      instructions.identifier, start + columns.lowerBound, columns.count, scale)
    for column in 0..<columns.lowerBound { unsafe start[column] = 0 }
    for column in columns.upperBound..<columnCount { unsafe start[column] = 0 }
  }

  /// Adds `scale` times a row of another matrix to a row, or to some columns of it.
  package func add(
    _ other: FloatMatrix, row source: Int, scale: Float = 1, to row: Int,
    columns: Range<Int>? = nil, on instructions: InstructionSet = .best
  ) {
    let columns = columns ?? 0..<columnCount
    unsafe pleat_add_scaled(
      instructions.identifier,
      other.address(row: source, lastRow: source, lastColumn: columns.count - 1), scale,
      columns.count,
      address(
        row: row, column: columns.lowerBound, lastRow: row, lastColumn: columns.upperBound - 1))
  }

  /// Limits all numbers to ± a number.
  package func clamp(to limit: Float) {
    for row in 0..<rowCount {
      withRow(row) { numbers in
        for index in numbers.indices { numbers[index] = max(-limit, min(numbers[index], limit)) }
      }
    }
  }

  /// Multiplies the numbers of a row, or of some columns of it.
  package func scale(row: Int, columns: Range<Int>? = nil, by factor: Float) {
    withRow(row, columns: columns) { numbers in
      for index in numbers.indices { numbers[index] *= factor }
    }
  }

  /// Adds numbers to the first ones of a row.
  package func add(
    _ numbers: Span<Float>, to row: Int, on instructions: InstructionSet = .best
  ) {
    let target = unsafe address(row: row, lastRow: row, lastColumn: numbers.count - 1)
    unsafe numbers.withUnsafeBufferPointer {
      unsafe pleat_add_scaled(instructions.identifier, $0.baseAddress, 1, $0.count, target)
    }
  }

  /// Rotates the pairs of numbers from a column of a row on by angles.
  ///
  /// - Parameters:
  ///   - row: The row.
  ///   - column: The first of the numbers.
  ///   - cosines: The cosine of the angle of each pair.
  ///   - sines: The sines.
  ///   - neighbours: Whether pairs are neighbours, instead of a half of the numbers apart. Results
  ///     are in the second order in both cases.
  package func rotate(
    row: Int, column: Int, cosines: Span<Float>, sines: Span<Float>, neighbours: Bool
  ) {
    let pairs = cosines.count
    precondition(sines.count == pairs, "expected a sine for each cosine")
    let values = unsafe address(
      row: row, column: column, lastRow: row, lastColumn: column + 2 * pairs - 1)
    unsafe cosines.withUnsafeBufferPointer { cosines in
      unsafe sines.withUnsafeBufferPointer { sines in
        unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * pairs) { scratch in
          unsafe pleat_rotate(
            cosines.baseAddress, sines.baseAddress, pairs, neighbours, values,
            scratch.baseAddress)
        }
      }
    }
  }

  /// ln Σ eˣ over the numbers of a row.
  package func logSumExp(row: Int, on instructions: InstructionSet = .best) -> Double {
    unsafe pleat_log_sum_exp(
      instructions.identifier, address(row: row, lastRow: row, lastColumn: columnCount - 1),
      columnCount)
  }

  /// The divergence Σ p (ln p − ln q) of distributions, with ln p = x − `sum` for the numbers of a
  /// row, and ln q = y − `otherSum` for those of a row of another matrix.
  package func divergence(
    row: Int, sum: Double, from other: FloatMatrix, otherSum: Double,
    on instructions: InstructionSet = .best
  ) -> Double {
    unsafe pleat_divergence(
      instructions.identifier, address(row: row, lastRow: row, lastColumn: columnCount - 1),
      other.address(row: row, lastRow: row, lastColumn: columnCount - 1), columnCount, sum,
      otherSum)
  }

  /// The column of the largest number of a row, the first one of several.
  package func largestColumn(row: Int) -> Int {
    withRow(row) { numbers in
      var best = 0
      for index in numbers.indices where numbers[index] > numbers[best] { best = index }
      return best
    }
  }
}
