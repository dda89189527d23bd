package import TensorModel

/// An adapter in the terms of every runtime: plain factors of each weight, and one alpha for all.
///
/// With scale = alpha / rank, W + scale · B · A is the same function as the adapter it was made
/// from: columns of a pooled A are repeated, and what cannot be in alpha is multiplied into B.
package struct RuntimeAdapter: Sendable {
  /// The factors of one weight.
  package struct Module: Sendable {
    /// The tensor in the base.
    package var tensor: Int
    /// The change that it is made from.
    package var change: PairedChange
    /// The product, its scale included.
    package var product: LowRank
    /// Columns that a number of the right factor is repeated for; 1 without pooling.
    package var repeats: Int
    /// What B is multiplied with: 1 where alpha / rank is all of the scale.
    package var factor: Float
  }

  /// The weights that change, in the order of the adapter.
  package let modules: [Module]
  /// The alpha of all modules.
  package let alpha: Double

  /// Finds the alpha that leaves most factors as they are.
  ///
  /// Throws `unsupported` for all changes at once that are no plain product of two matrices.
  package init(_ changes: [PairedChange], of adapter: Adapter) throws(ModelError) {
    var problems = Problems()
    var products: [(PairedChange, LowRank)] = []
    for change in changes {
      if let product = change.lowRank, product.magnitude == nil, product.expertCount == 1 {
        products.append((change, product))
      } else {
        problems.add(change.tensors(of: adapter)[0])
      }
    }
    try problems.check("runtimes have no place for parts of the adapter")
    var counts: [Double: Int] = [:]
    // llama.cpp takes an alpha of 0 for none at all: what adds nothing has a B of zeros instead.
    for (_, product) in products where product.scale != 0 {
      counts[product.scale * Double(product.rank), default: 0] += 1
    }
    let best = counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key ?? 1
    // Alpha is a 32-bit number in files of llama.cpp.
    let alpha = Double(Float(best))
    self.alpha = alpha
    modules = products.map { change, product in
      let wanted = product.scale * Double(product.rank)
      return Module(
        tensor: change.tensor, change: change, product: product, repeats: change.groupSize ?? 1,
        factor: wanted == best ? 1 : Float(wanted / alpha))
    }
  }
}
