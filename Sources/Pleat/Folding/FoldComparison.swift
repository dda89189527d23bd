internal import Adapters
internal import Formats
internal import Kernels
internal import Quantization
internal import TensorModel
internal import Weights

/// How a tensor compares with that of the base model with adapters folded in, weight by weight.
public struct FoldComparison: Sendable, Hashable {
  /// The adapter error and the changed codes, measured on the numbers in both files.
  public var measurement = FoldMeasurement()
  /// The largest error of a weight, in units of half a step of the stored type.
  ///
  /// A step is one unit in the last place of a plain number or a bias, or the scale for a zero
  /// point. The error is at most 1 if each number is the nearest that can be stored.
  public var largestError = 0.0

  /// Whether no code changed and every weight is as exact as its stored type allows.
  public var isProven: Bool { measurement.changedCodeCount == 0 && largestError <= 1 }
}

/// Compares tensors with those of a base model after adapters were added to them.
struct FoldComparer {
  let model: Model
  let reference: Model
  let updates: UpdateReader

  /// Compares two tensors, one run of rows at a time.
  ///
  /// - Parameters:
  ///   - index: The tensor of the model.
  ///   - other: The tensor of the reference, or a part of it.
  ///   - changes: The changes that adapters make to the tensor of the reference.
  ///   - errors: Receives the difference of both tensors after the changes.
  ///   - progress: Called with the number of weights compared since the last call.
  /// - Returns: The comparison.
  /// - Throws: What reading throws, and `mismatch` if Pleat does not decode an encoding.
  func compare(
    _ index: Int, with other: Counterparts.Counterpart, _ changes: [PairedChange],
    _ errors: inout ErrorStatistics, _ progress: (Int) throws(ModelError) -> Void
  ) throws(ModelError) -> FoldComparison {
    let (left, right) = (WeightReader(model: model), WeightReader(model: reference))
    let info = model.catalog.tensors[index]
    guard let source = left.tensor(index),
      let base = right.tensor(other.index)
    else {
      throw ModelError(
        .mismatch, "Pleat cannot decode the tensor", file: model.path,
        tensor: info.name)
    }
    var result = FoldComparison()
    let expected = reference.catalog.tensors[other.index]
    let columns = expected.shape.columnCount
    // Rows that adapters add were zeros.
    let shape = changes.grownShape(of: expected.shape) ?? expected.shape
    for pair in RowPair.all(of: shape, with: other, info.shape) {
      for rows in WeightReader.runs(of: [base, source], in: pair.own) {
        let (written, found) = try left.grouped(source, rows: pair.others(rows))
        let stored = rows.clamped(to: 0..<expected.shape.rowCount)
        var (known, before) = try right.grouped(base, rows: stored)
        if stored.count < rows.count {
          before += [Float](repeating: 0, count: found.count - before.count)
          known = nil
        }
        var update = RowUpdate(before, rows: rows, columnCount: columns)
        for change in changes { try update.apply(change, updates) }
        if !changes.isEmpty {
          result.measurement.add(found, base: before, delta: update.delta)
        }
        if let written, let known { result.addCodes(written, known) }
        let steps = Steps(info.encoding, written, of: expected.encoding)
        result.largestError = max(
          result.largestError, steps.largestError(of: found, from: update.values))
        errors.merge(ErrorStatistics(of: found.span, from: update.values.span))
        try progress(found.count)
      }
    }
    return result
  }
}

extension FoldComparison {
  fileprivate mutating func addCodes(_ written: GroupedRows, _ known: GroupedRows) {
    let factor = GroupShift.factor(from: known.grouping.bits, to: written.grouping.bits)
    guard factor > 0, known.grouping.bits <= written.grouping.bits else {
      return measurement.add(codeCount: written.codes.count, changed: written.codes.count)
    }
    // A fold multiplies codes only with zero points. Otherwise a format may store the same codes in
    // more bits.
    let isWidened = written.grouping.offset == .zeroPoint
    measurement.add(
      codes: written.codes, base: known.codes, factor: isWidened ? UInt8(factor) : 1)
  }
}

/// The steps between neighboring stored numbers, for the weights of some rows.
private struct Steps {
  private let type: ScalarType
  private let rows: GroupedRows?
  /// 1 if scales changed their type, so that subnormal scales may have been rounded; otherwise 0.
  private let scaleLoss: Double
  /// The error that float32 arithmetic may add to a weight, relative to its magnitude.
  private static let slack = 0x1p-21

  init(_ encoding: Encoding, _ rows: GroupedRows?, of base: Encoding) {
    self.rows = rows
    if case .grouped(let old) = base, let rows, old.parameters != rows.grouping.parameters {
      scaleLoss = 1
    } else {
      scaleLoss = 0
    }
    switch encoding {
    case .plain(let type): self.type = type
    case .grouped(let grouping): type = grouping.parameters
    case .foreign, .scaled: type = .f32
    }
  }

  /// The largest error, in units of half a step.
  func largestError(of values: [Float], from expected: [Float]) -> Double {
    var largest = 0.0
    let columns = rows?.columnsPerParameter ?? 1
    for index in values.indices {
      let error = abs(Double(values[index]) - Double(expected[index]))
      let group = index / columns
      guard error > 0 || error.isNaN, !isClamped(group, values[index], expected[index]) else {
        continue
      }
      let half = halfStep(at: group, values[index], expected[index])
      let magnitude = Double(max(abs(values[index]), abs(expected[index])))
      let halfSteps = error / (half + magnitude * Self.slack)
      largest = halfSteps.isNaN ? .infinity : max(largest, halfSteps)
    }
    return largest
  }

  /// Whether the zero point of a group is clamped.
  ///
  /// Then a zero point that is nearer to the expected value is below 0 or above the largest code.
  private func isClamped(_ group: Int, _ value: Float, _ expected: Float) -> Bool {
    guard let rows, rows.grouping.offset == .zeroPoint else { return false }
    let rises = (expected > value) == (rows.scales[group] > 0)
    return rows.zeros[group] == (rises ? 0 : Float(rows.grouping.largestCode))
  }

  private func halfStep(at group: Int, _ value: Float, _ expected: Float) -> Double {
    guard let rows else { return type.halfStep(at: max(abs(value), abs(expected))) }
    let scale = abs(Double(rows.scales[group]))
    switch rows.grouping.offset {
    case .bias:
      // Decoding adds scale · code to the bias. Both may be much larger than their sum, so their
      // rounding errors count.
      let bias = rows.biases[group]
      return rows.grouping.parameters.halfStep(at: abs(bias))
        + Double(BlockWorker.smallestHalfStep) * Double(rows.grouping.largestCode) * scaleLoss
        + (abs(Double(bias)) + scale * Double(rows.grouping.largestCode)) * Self.slack
    case .zeroPoint:
      // With wider codes, the scale was divided by the factor and rounded to its type.
      let rounding = rows.grouping.parameters.halfStep(at: abs(rows.scales[group]))
      return scale / 2 + rounding * Double(rows.grouping.largestCode)
    case .none: return 0
    }
  }
}

extension ScalarType {
  /// Half a unit in the last place of a number of this magnitude.
  fileprivate func halfStep(at magnitude: Float) -> Double {
    let (digits, smallest) =
      switch self {
      case .f16: (10, -24)
      case .bf16: (7, -133)
      default: (23, -149)
      }
    guard magnitude > 0 else { return Double(sign: .plus, exponent: smallest - 1, significand: 1) }
    let exponent = max(Int(magnitude.exponent) - digits, smallest)
    return Double(sign: .plus, exponent: exponent - 1, significand: 1)
  }
}
