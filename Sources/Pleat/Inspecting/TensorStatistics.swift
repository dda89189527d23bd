internal import Kernels
public import TensorModel
public import Weights

/// The distribution of the weights of one tensor.
public struct TensorStatistics: Sendable, Hashable {
  /// The smallest finite weight; 0 if there is none.
  public var minimum: Float
  /// The largest finite weight; 0 if there is none.
  public var maximum: Float
  /// The mean of the finite weights.
  public var mean: Double
  /// The standard deviation of the finite weights.
  public var standardDeviation: Double
  /// The number of weights that are NaN.
  public var nanCount: Int
  /// The number of infinite weights.
  public var infinityCount: Int
  /// The number of finite weights in each of equally wide intervals from minimum to maximum.
  public var histogram: [Int]

  /// The number of intervals of a histogram.
  public static let intervalCount = 16

  /// Computes the statistics of a tensor; nil if Pleat does not decode its encoding.
  ///
  /// It reads the tensor twice: for its range, then for the histogram. Throws what reading throws.
  public init?(of tensor: Int, in model: Model) throws(ModelError) {
    let reader = WeightReader(model: model)
    guard let source = reader.tensor(tensor) else { return nil }
    var total = ValueStatistics()
    for run in 0..<source.runCount {
      let values = try reader.values(of: source, run: run)
      total.merge(ValueStatistics(values.span))
    }
    let count = Double(max(1, total.finiteCount))
    minimum = total.finiteCount > 0 ? total.minimum : 0
    maximum = total.finiteCount > 0 ? total.maximum : 0
    mean = total.sum / count
    standardDeviation = max(0, total.sumOfSquares / count - mean * mean).squareRoot()
    nanCount = total.nanCount
    infinityCount = total.infinityCount
    histogram = Array(repeating: 0, count: Self.intervalCount)
    guard total.finiteCount > 0 else { return }
    let width = (Double(maximum) - Double(minimum)) / Double(Self.intervalCount)
    for run in 0..<source.runCount {
      for value in try reader.values(of: source, run: run) where value.isFinite {
        let interval = width > 0 ? (Double(value) - Double(minimum)) / width : 0
        histogram[min(Self.intervalCount - 1, max(0, Int(interval)))] += 1
      }
    }
  }
}
