package import TensorModel

/// An adapter as plain LoRA with one alpha for all weights, which every runtime supports.
///
/// With scale = alpha / rank, W + scale · B · A is the same function as the original adapter. The
/// columns of a pooled A are repeated. If a weight has another scale, the quotient is multiplied
/// into its B.
package struct RuntimeAdapter: Sendable {
  /// The factors of one weight.
  package struct Module: Sendable {
    /// The index of the tensor in the base model.
    package var tensor: Int
    /// The change that the factors are made from.
    package var change: PairedChange
    /// The product, including its scale.
    package var product: LowRank
    /// How often each number of the right factor is repeated along a row; 1 without pooling.
    package var repeats: Int
    /// The factor that B is multiplied by; 1 if the scale is alpha / rank.
    package var factor: Float
  }

  /// The weights that change, in the order of the adapter.
  package let modules: [Module]
  /// The alpha of all modules.
  package let alpha: Double

  /// Chooses the alpha that leaves most factors unchanged.
  ///
  /// Throws one `unsupported` for all changes that are not a plain product of two matrices.
  package init(_ changes: [PairedChange], of adapter: Adapter) throws(ModelError) {
    var problems = Problems()
    var products: [(PairedChange, LowRank)] = []
    for change in changes {
      if let product = change.lowRank, product.magnitude == nil, product.expertCount == 1,
        change.window == nil
      {
        products.append((change, product))
      } else {
        problems.add(change.tensors(of: adapter)[0])
      }
    }
    try problems.check("runtimes do not support some parts of the adapter")
    var counts: [Double: Int] = [:]
    // llama.cpp treats an alpha of 0 as no alpha. A product that adds nothing gets a B of zeros.
    for (_, product) in products where product.scale != 0 {
      counts[product.scale * Double(product.rank), default: 0] += 1
    }
    let best = counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key ?? 1
    // llama.cpp stores alpha as a 32-bit number.
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
