internal import Kernels

/// How exactly adapters were folded in, measured on the written numbers.
public struct FoldReport: Sendable, Hashable {
  /// The result for one tensor that adapters changed.
  public struct TensorResult: Sendable, Hashable {
    /// The name of the tensor in the base model.
    public var name: String
    /// What was done with the tensor.
    public var action: Action
    /// Whether an adapter was added to floats that were quantized afterwards.
    ///
    /// The adapter error then includes the rounding of the whole weight, which the base model alone
    /// would have, too.
    public var isRoundedAfter: Bool
    /// The adapter error and the changed codes.
    public var measurement: FoldMeasurement
  }

  /// The number of parts of the adapters: products, vectors and whole tensors, all of which arrived.
  public var partCount: Int

  /// The tensors that adapters changed, in the order of the base model.
  public var tensors: [TensorResult]

  /// Whether adapters change tensors, but every number that they add is zero.
  public var changesNothing: Bool { !tensors.isEmpty && total.sumOfSquares == 0 }

  /// The measurement over all tensors.
  public var total: FoldMeasurement {
    tensors.reduce(into: FoldMeasurement()) { $0.merge($1.measurement) }
  }

  /// The tensor with the largest adapter error.
  public var worst: TensorResult? {
    tensors.max { $0.measurement.adapterError < $1.measurement.adapterError }
  }
}

/// How exactly a change was stored in some weights.
public struct FoldMeasurement: Sendable, Hashable {
  /// Σ ((w_out − w_base) − Δw)², with decoded weights.
  public package(set) var sumOfSquaredErrors = 0.0
  /// Σ Δw².
  public package(set) var sumOfSquares = 0.0
  /// The number of codes that were compared with those of the base model.
  public package(set) var codeCount = 0
  /// The number of codes that differ from those of the base model.
  ///
  /// Wider codes are compared with those of the base model times the factor.
  public package(set) var changedCodeCount = 0

  package init() {}

  /// The adapter error ‖(W_out − W_base) − ΔW‖ / ‖ΔW‖.
  ///
  /// 0 if the adapter arrived completely or adds nothing, 1 if nothing of it arrived.
  public var adapterError: Double {
    sumOfSquaredErrors == 0 || sumOfSquares == 0
      ? 0 : (sumOfSquaredErrors / sumOfSquares).squareRoot()
  }

  mutating func merge(_ other: FoldMeasurement) {
    sumOfSquaredErrors += other.sumOfSquaredErrors
    sumOfSquares += other.sumOfSquares
    codeCount += other.codeCount
    changedCodeCount += other.changedCodeCount
  }

  /// Adds weights, with those of the base model and the change that was to be added.
  mutating func add(_ values: [Float], base: [Float], delta: [Float]) {
    let found = UpdateStatistics(of: values.span, base: base.span, delta: delta.span)
    sumOfSquaredErrors += found.sumOfSquaredErrors
    sumOfSquares += found.sumOfSquares
  }

  /// Adds codes, with those of the base model, which were multiplied by `factor`.
  mutating func add(codes: [UInt8], base: [UInt8], factor: UInt8 = 1) {
    codeCount += codes.count
    guard factor != 1 || codes != base else { return }
    for index in codes.indices where codes[index] != base[index] &* factor {
      changedCodeCount += 1
    }
  }

  /// Adds numbers that each stand for `count` weights with the same change, such as biases.
  mutating func add(_ values: [Float], base: [Float], delta: [Float], times count: Int) {
    let found = UpdateStatistics(of: values.span, base: base.span, delta: delta.span)
    sumOfSquaredErrors += found.sumOfSquaredErrors * Double(count)
    sumOfSquares += found.sumOfSquares * Double(count)
  }

  /// Adds the counts of codes that the caller compared.
  mutating func add(codeCount: Int, changed: Int) {
    self.codeCount += codeCount
    changedCodeCount += changed
  }
}
