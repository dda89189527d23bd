internal import Adapters
internal import Formats
internal import Kernels
internal import Quantization
internal import TensorModel

/// Whether a tensor is that of the base with adapters folded in, judged weight by weight.
public struct FoldComparison: Sendable, Hashable {
  /// ‖(W − W_base) − ΔW‖ / ‖ΔW‖ and the codes, both read from the files.
  public var measurement = FoldMeasurement()
  /// The largest error of a weight, in halves of the step of what is stored there: the unit in the
  /// last place of a plain number or a bias, or the scale of a whole zero point.
  ///
  /// At most 1 where each number is the nearest to what it should be.
  public var largestError = 0.0

  /// Whether no code changed and every weight is as near as its type allows.
  public var isProven: Bool { measurement.changedCodeCount == 0 && largestError <= 1 }
}

/// Compares a tensor with that of a base and what adapters add to it.
struct FoldComparer {
  let model: Model
  let reference: Model
  let updates: UpdateReader

  /// Reads both tensors, which have the same shape, run by run.
  ///
  /// Throws what reading throws, and `mismatch` for encodings that are not decoded.
  func compare(
    _ index: Int, with other: Int, _ changes: [PairedChange], _ errors: inout ErrorStatistics,
    _ progress: (Int) throws(ModelError) -> Void
  ) throws(ModelError) -> FoldComparison {
    let (left, right) = (WeightReader(model: model), WeightReader(model: reference))
    let info = model.catalog.tensors[index]
    guard let source = left.tensor(index),
      let base = right.tensor(other)
    else {
      throw ModelError(
        .mismatch, "the tensor is not numbers that Pleat reads", file: model.path,
        tensor: info.name)
    }
    var result = FoldComparison()
    let columns = info.shape.columnCount
    for rows in WeightReader.runs(of: [source, base]) {
      let (written, found) = try left.grouped(source, rows: rows)
      let (known, before) = try right.grouped(base, rows: rows)
      var update = RowUpdate(before, rows: rows, columnCount: columns)
      for change in changes { try update.apply(change, updates) }
      if !changes.isEmpty {
        result.measurement.add(found, base: before, delta: update.delta)
      }
      if let written, let known { result.addCodes(written, known) }
      let steps = Steps(info.encoding, written, of: reference.catalog.tensors[other].encoding)
      result.largestError = max(
        result.largestError, steps.largestError(of: found, from: update.values))
      errors.merge(ErrorStatistics(of: found.span, from: update.values.span))
      try progress(found.count)
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
    // Only zero points are widened; other formats put narrow codes into wider ones as they are.
    let isWidened = written.grouping.offset == .zeroPoint
    measurement.add(
      codes: written.codes, base: known.codes, factor: isWidened ? UInt8(factor) : 1)
  }
}

/// Half the distance between neighbours of a stored number.
private struct Steps {
  private let type: ScalarType
  private let rows: GroupedRows?
  /// 1 where scales changed their type, and the smallest may have been rounded.
  private let scaleLoss: Double
  /// What float32 arithmetic may add to the error of a weight, relative to its size.
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
    case .foreign: type = .f32
    }
  }

  /// The largest error, in halves of a step.
  func largestError(of values: [Float], from expected: [Float]) -> Double {
    var largest = 0.0
    let size = rows?.columnsPerParameter ?? 1
    for index in values.indices {
      let error = abs(Double(values[index]) - Double(expected[index]))
      guard error > 0 || error.isNaN, !isAtEnd(index / size, values[index], expected[index]) else {
        continue
      }
      let half = halfStep(at: index / size, values[index], expected[index])
      let magnitude = Double(max(abs(values[index]), abs(expected[index])))
      let size = error / (half + magnitude * Self.slack)
      largest = size.isNaN ? .infinity : max(largest, size)
    }
    return largest
  }

  /// Whether a zero point would have to be below 0, or above all codes, to come nearer.
  private func isAtEnd(_ group: Int, _ value: Float, _ expected: Float) -> Bool {
    guard let rows, rows.grouping.offset == .zeroPoint else { return false }
    let rises = (expected > value) == (rows.scales[group] > 0)
    return rows.zeros[group] == (rises ? 0 : Float(rows.grouping.largestCode))
  }

  private func halfStep(at group: Int, _ value: Float, _ expected: Float) -> Double {
    guard let rows else { return type.halfStep(at: max(abs(value), abs(expected))) }
    let scale = abs(Double(rows.scales[group]))
    switch rows.grouping.offset {
    case .bias:
      // Decoding adds scale · code to the bias, each of which is larger than what they add up to.
      let bias = rows.biases[group]
      return rows.grouping.parameters.halfStep(at: abs(bias))
        + Double(BlockWorker.smallestHalfStep) * Double(rows.grouping.largestCode) * scaleLoss
        + (abs(Double(bias)) + scale * Double(rows.grouping.largestCode)) * Self.slack
    case .zeroPoint:
      // A scale that was divided by the factor of a wider container was rounded to its type.
      let rounding = rows.grouping.parameters.halfStep(at: abs(rows.scales[group]))
      return scale / 2 + rounding * Double(rows.grouping.largestCode)
    case .none: return 0
    }
  }
}

extension ScalarType {
  /// Half the unit in the last place of a number of this size.
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
