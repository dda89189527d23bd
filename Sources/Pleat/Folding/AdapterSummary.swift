public import Adapters

/// A summary of an adapter for reports.
public struct AdapterSummary: Sendable, Hashable {
  /// The name of the adapter.
  public var name: String
  /// The tool that wrote the file.
  public var kind: AdapterKind
  /// The distinct tensors that the adapter changes, without layer numbers and `.weight`, sorted.
  public var targets: [String]
  /// The distinct ranks of the products, ascending.
  public var ranks: [Int]
  /// The distinct scales of the products, ascending, without the pooling factor.
  public var scales: [Double]
  /// The number of tensors that are changed by a product.
  public var productCount = 0
  /// The number of tensors that are changed by a vector.
  public var vectorCount = 0
  /// The number of tensors that are replaced.
  public var replacementCount = 0
  /// Whether the adapter has the magnitudes of DoRA.
  public var hasMagnitudes = false
  /// The number of columns that share a pooled input; nil if the config does not state it.
  public var groupSize: Int?
  /// How inputs are pooled; nil if the adapter does not state it.
  public var pooling: Pooling?

  /// Creates the summary of an adapter.
  public init(_ file: AdapterFile) {
    let adapter = file.adapter
    name = file.name
    kind = adapter.kind
    pooling = adapter.pooling
    var ranks: Set<Int> = []
    var scales: Set<Double> = []
    var targets: Set<String> = []
    for change in adapter.changes {
      guard let candidate = change.candidates.first else { continue }
      switch candidate.operation {
      case .lowRank(let product):
        productCount += 1
        ranks.insert(product.rank)
        scales.insert(product.scale)
        groupSize = groupSize ?? product.groupSize
        if product.magnitude != nil { hasMagnitudes = true }
      case .vector: vectorCount += 1
      case .replacement, .rows: replacementCount += 1
      }
      targets.insert(Self.shortened(candidate.target))
    }
    self.ranks = ranks.sorted()
    self.scales = scales.sorted()
    self.targets = targets.sorted()
  }

  /// A tensor name without everything up to its last number, and without `weight`.
  ///
  /// `model.layers.0.self_attn.q_proj.weight` becomes `self_attn.q_proj`.
  private static func shortened(_ target: String) -> String {
    var components = target.split(separator: ".").map(String.init)
    if let index = components.lastIndex(where: { Int($0) != nil }) {
      components.removeFirst(index + 1)
    }
    if components.count > 1, components.last == "weight" { components.removeLast() }
    return components.joined(separator: ".")
  }

  /// The method of the adapter: QA-LoRA, DoRA or LoRA.
  public var method: String {
    if pooling != nil { return "QA-LoRA" }
    return hasMagnitudes ? "DoRA" : "LoRA"
  }
}
