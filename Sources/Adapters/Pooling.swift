internal import TensorModel

/// How QA-LoRA pools the inputs of a group into one; three implementations differ in this.
///
/// W changes by factor · scale · (B · A)[row, group]. Below, g is the group size and G the number
/// of groups in a row.
public enum Pooling: String, Sendable, Hashable, CaseIterable {
  /// The sum of the group: factor 1 (arXiv 2309.14717, algorithm 1).
  case sum
  /// The mean of the group: factor 1 / g (the paper's published code).
  case mean
  /// The mean of the group times the number of groups: factor G / g (PEFT, `use_qalora`).
  case peft

  /// The pooling factor of a layer.
  ///
  /// - Parameters:
  ///   - groupSize: The number of inputs that are pooled into one.
  ///   - columnCount: The number of inputs of the layer.
  /// - Returns: The factor of the product B · A besides the scale.
  public func factor(groupSize: Int, columnCount: Int) -> Double {
    switch self {
    case .sum: 1
    case .mean: 1 / Double(groupSize)
    case .peft: Double(columnCount / groupSize) / Double(groupSize)
    }
  }

  /// A description for help texts and reports.
  public var summary: String {
    switch self {
    case .sum: "sums of groups, as in the paper"
    case .mean: "means of groups, as in the authors' code"
    case .peft: "means times the number of groups, as in PEFT"
    }
  }
}
