public import Adapters

/// What an adapter is, for people and reports.
public struct AdapterSummary: Sendable, Hashable {
  /// What it is called.
  public var name: String
  /// Whose file it is.
  public var kind: AdapterKind
  /// The tensors of the base that it changes, in the words of its tool, by what is done to them.
  public var targets: [String]
  /// The ranks of the products, without repetition, in rising order.
  public var ranks: [Int]
  /// What products are multiplied with, without repetition, in rising order.
  public var scales: [Double]
  /// How many tensors are changed by a product, by a vector, and replaced.
  public var productCount = 0
  /// How many vectors are added to.
  public var vectorCount = 0
  /// How many tensors are replaced.
  public var replacementCount = 0
  /// Whether it has the magnitudes of DoRA.
  public var hasMagnitudes = false
  /// Columns that share a pooled input, where the config says; nil for plain LoRA, or unknown.
  public var groupSize: Int?
  /// How inputs are pooled, where the adapter tells.
  public var pooling: Pooling?

  /// The summary of an adapter.
  public init(_ file: AdapterFile) {
    let adapter = file.adapter
    name = file.name
    kind = adapter.kind
    pooling = adapter.pooling
    var ranks: Set<Int> = []
    var scales: Set<Double> = []
    var words: [String: Int] = [:]
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
      case .replacement: replacementCount += 1
      }
      words[Self.kind(of: candidate.target), default: 0] += 1
    }
    self.ranks = ranks.sorted()
    self.scales = scales.sorted()
    targets = words.keys.sorted()
  }

  /// The name without the numbers of layers and the ending: `self_attn.q_proj`.
  private static func kind(of target: String) -> String {
    var words = target.split(separator: ".").map(String.init)
    if let place = words.lastIndex(where: { Int($0) != nil }) {
      words.removeFirst(place + 1)
    }
    if words.count > 1, words.last == "weight" { words.removeLast() }
    return words.joined(separator: ".")
  }

  /// What kind of adapter it is, in a word or two.
  public var method: String {
    if pooling != nil { return "QA-LoRA" }
    return hasMagnitudes ? "DoRA" : "LoRA"
  }
}
