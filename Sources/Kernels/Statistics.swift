internal import CKernels

/// The statistics of floats from one pass; sums are the same with every instruction set.
///
/// The order of addition is fixed. Value i of a span goes to partial sum i mod 8. The eight sums
/// are added as ((0+4)+(2+6)) + ((1+5)+(3+7)). `merge` adds whole spans in the order of the calls,
/// so the same spans in the same order give the same bits.
package struct ValueStatistics: Sendable, Hashable {
  /// The number of values, finite or not.
  package var count = 0
  package var nanCount = 0
  package var infinityCount = 0
  /// The smallest finite value, with −0 below +0; infinity if there is none.
  package var minimum = Float.infinity
  /// The largest finite value, with −0 below +0; −infinity if there is none.
  package var maximum = -Float.infinity
  /// The sum of the finite values.
  package var sum = 0.0
  /// The sum of the squares of the finite values.
  package var sumOfSquares = 0.0

  package init() {}

  package init(_ values: Span<Float>, on instructions: InstructionSet = .best) {
    // In bounds: the pointer is passed with its own count.
    let found = unsafe values.withUnsafeBufferPointer {
      unsafe pleat_statistics_of(instructions.identifier, $0.baseAddress, $0.count)
    }
    count = values.count
    nanCount = Int(found.nan_count)
    infinityCount = Int(found.infinity_count)
    minimum = found.minimum
    maximum = found.maximum
    sum = found.sum
    sumOfSquares = found.sum_of_squares
  }

  /// The number of finite values.
  package var finiteCount: Int { count - nanCount - infinityCount }

  /// Adds the statistics of the next span.
  package mutating func merge(_ next: ValueStatistics) {
    count += next.count
    nanCount += next.nanCount
    infinityCount += next.infinityCount
    if next.minimum.isTotallyOrdered(belowOrEqualTo: minimum) { minimum = next.minimum }
    if maximum.isTotallyOrdered(belowOrEqualTo: next.maximum) { maximum = next.maximum }
    sum += next.sum
    sumOfSquares += next.sumOfSquares
  }
}

/// The largest |value|, which may be infinite; NaN if any value is NaN, 0 if there are no values.
package func largestMagnitude(
  _ values: Span<Float>, on instructions: InstructionSet = .best
) -> Float {
  // In bounds: the pointer is passed with its own count.
  unsafe values.withUnsafeBufferPointer {
    unsafe pleat_largest_magnitude(instructions.identifier, $0.baseAddress, $0.count)
  }
}

/// The errors of floats against a reference; the order of addition is that of `ValueStatistics`.
package struct ErrorStatistics: Sendable, Hashable {
  package var count = 0
  /// Σ (value − reference)²; NaN or infinite if a value is not finite.
  package var sumOfSquaredErrors = 0.0
  /// Σ reference².
  package var sumOfSquares = 0.0
  /// The largest |value − reference|, rounded to float32; NaN if any difference is NaN.
  package var maximumError = Float(0)

  package init() {}

  /// Compares spans of equal length.
  package init(
    of values: Span<Float>, from reference: Span<Float>,
    on instructions: InstructionSet = .best
  ) {
    precondition(values.count == reference.count, "spans differ in count")
    // In bounds by the precondition.
    let found = unsafe values.withUnsafeBufferPointer { values in
      unsafe reference.withUnsafeBufferPointer { reference in
        unsafe pleat_error_of(
          instructions.identifier, values.baseAddress, reference.baseAddress, values.count)
      }
    }
    count = values.count
    sumOfSquaredErrors = found.sum_of_squared_errors
    sumOfSquares = found.sum_of_squares
    maximumError = found.maximum_error
  }

  /// Adds the statistics of the next spans.
  package mutating func merge(_ next: ErrorStatistics) {
    count += next.count
    sumOfSquaredErrors += next.sumOfSquaredErrors
    sumOfSquares += next.sumOfSquares
    if next.maximumError.isNaN || next.maximumError > maximumError {
      maximumError = next.maximumError
    }
  }
}

/// How much of an update was lost when it was added to base values.
///
/// The order of addition is that of `ValueStatistics`. If an update is lost entirely, because every
/// value still equals the base, the error is as large as the update.
package struct UpdateStatistics: Sendable, Hashable {
  package var count = 0
  /// Σ ((value − base) − delta)² in double; NaN or infinite if a number is not finite.
  package var sumOfSquaredErrors = 0.0
  /// Σ delta².
  package var sumOfSquares = 0.0
  /// The largest |(value − base) − delta| in double; NaN if any is NaN.
  package var maximumError = 0.0

  package init() {}

  /// Compares spans of equal length.
  ///
  /// - Parameters:
  ///   - values: The stored result of base + delta.
  ///   - base: The values before the update.
  ///   - delta: The update.
  ///   - instructions: The instruction set to use.
  package init(
    of values: Span<Float>, base: Span<Float>, delta: Span<Float>,
    on instructions: InstructionSet = .best
  ) {
    precondition(values.count == base.count, "values and base differ in count")
    precondition(values.count == delta.count, "values and delta differ in count")
    // In bounds by the preconditions.
    let found = unsafe values.withUnsafeBufferPointer { values in
      unsafe base.withUnsafeBufferPointer { base in
        unsafe delta.withUnsafeBufferPointer { delta in
          unsafe pleat_update_error_of(
            instructions.identifier, values.baseAddress, base.baseAddress, delta.baseAddress,
            values.count)
        }
      }
    }
    count = values.count
    sumOfSquaredErrors = found.sum_of_squared_errors
    sumOfSquares = found.sum_of_squares
    maximumError = found.maximum_error
  }

  /// Adds the statistics of the next spans.
  package mutating func merge(_ next: UpdateStatistics) {
    count += next.count
    sumOfSquaredErrors += next.sumOfSquaredErrors
    sumOfSquares += next.sumOfSquares
    if next.maximumError.isNaN || next.maximumError > maximumError {
      maximumError = next.maximumError
    }
  }
}
