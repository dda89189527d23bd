internal import Kernels

/// What survived of adapters, measured on what was written.
public struct FoldReport: Sendable, Hashable {
  /// One tensor that adapters changed.
  public struct Module: Sendable, Hashable {
    /// The name of the tensor in the base.
    public var name: String
    /// What was done.
    public var action: Action
    /// Whether weights were rounded after the adapter was added to floats, so that the error is that
    /// of the whole weight, which the base alone would have too.
    public var isRoundedAfter: Bool
    /// What was measured.
    public var measurement: FoldMeasurement
  }

  /// The tensors that adapters changed, in the order of the base.
  public var modules: [Module]

  /// All tensors together.
  public var total: FoldMeasurement {
    modules.reduce(into: FoldMeasurement()) { $0.merge($1.measurement) }
  }

  /// The tensor that lost most.
  public var worst: Module? {
    modules.max { $0.measurement.adapterError < $1.measurement.adapterError }
  }
}

/// How a change came out in some weights.
public struct FoldMeasurement: Sendable, Hashable {
  /// Σ ((w_out − w_base) − Δw)², weights decoded.
  public package(set) var sumOfSquaredErrors = 0.0
  /// Σ Δw².
  public package(set) var sumOfSquares = 0.0
  /// Codes that were compared with those of the base.
  public package(set) var codeCount = 0
  /// Codes that are not those of the base, in a wider container those times its factor.
  public package(set) var changedCodeCount = 0

  package init() {}

  /// ‖(W_out − W_base) − ΔW‖ / ‖ΔW‖: 0 for an adapter that arrived whole, 1 for one that is lost.
  ///
  /// 0 as well for an adapter that adds nothing.
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

  /// Adds weights with what they were and what was to be added.
  mutating func add(_ values: [Float], base: [Float], delta: [Float]) {
    let found = UpdateStatistics(of: values.span, base: base.span, delta: delta.span)
    sumOfSquaredErrors += found.sumOfSquaredErrors
    sumOfSquares += found.sumOfSquares
  }

  /// Adds codes with what they were, times `factor`.
  mutating func add(codes: [UInt8], base: [UInt8], factor: UInt8 = 1) {
    codeCount += codes.count
    guard factor != 1 || codes != base else { return }
    for index in codes.indices where codes[index] != base[index] &* factor {
      changedCodeCount += 1
    }
  }

  /// Adds numbers that each stand for `count` weights, which change by what the number does.
  mutating func add(_ values: [Float], base: [Float], delta: [Float], times count: Int) {
    let found = UpdateStatistics(of: values.span, base: base.span, delta: delta.span)
    sumOfSquaredErrors += found.sumOfSquaredErrors * Double(count)
    sumOfSquares += found.sumOfSquares * Double(count)
  }

  /// Adds codes that were compared elsewhere.
  mutating func add(codeCount: Int, changed: Int) {
    self.codeCount += codeCount
    changedCodeCount += changed
  }
}
