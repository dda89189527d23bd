internal import TensorModel

/// How QA-LoRA makes one input of a group of them; three implementations do it three ways.
///
/// W changes by factor · scale · (B · A)[row, group], where g is the group size and G the number of
/// groups of a row.
public enum Pooling: String, Sendable, Hashable, CaseIterable {
  /// The sum of the group: factor 1 (arXiv 2309.14717, algorithm 1).
  case sum
  /// The mean of the group: factor 1 / g (the paper's published code).
  case mean
  /// The mean of the group times the number of groups: factor G / g (PEFT, `use_qalora`).
  case peft

  /// The factor of a layer.
  ///
  /// - Parameters:
  ///   - groupSize: Inputs that are pooled into one.
  ///   - columnCount: Inputs of the layer.
  /// - Returns: What the product of the factors is multiplied with beside the scale.
  public func factor(groupSize: Int, columnCount: Int) -> Double {
    switch self {
    case .sum: 1
    case .mean: 1 / Double(groupSize)
    case .peft: Double(columnCount / groupSize) / Double(groupSize)
    }
  }

  /// What it does, for help and reports.
  public var summary: String {
    switch self {
    case .sum: "sums of groups, as in the paper"
    case .mean: "means of groups, as in the authors' code"
    case .peft: "means times the number of groups, as in PEFT"
    }
  }
}
