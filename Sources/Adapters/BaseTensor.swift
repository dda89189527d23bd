package import TensorModel

/// A tensor that adapters may change, with the names it goes by.
package struct BaseTensor: Sendable {
  /// The index in the base's catalog.
  package var index: Int
  /// Its description there.
  package var info: TensorInfo
  /// The name that the other of Hugging Face and llama.cpp has for it, where that is known.
  package var alias: String?
  /// Where the tensor of the alias has the rows of this one, if not at the same places.
  package var aliasRows: RowMap?
  /// Why the tensor of the alias holds other numbers, where it does.
  package var aliasDifference: String?

  package init(
    index: Int, info: TensorInfo, alias: String? = nil, aliasRows: RowMap? = nil
  ) {
    self.index = index
    self.info = info
    self.alias = alias
    self.aliasRows = aliasRows
  }
}

/// Where another order of a tensor's rows has a row.
package struct RowMap: Sendable, Hashable {
  /// The two orders.
  package var order: RotaryRowOrder
  /// Whether the rows that are mapped are llama.cpp's, and the others those of Hugging Face.
  package var fromInterleaved: Bool

  package init(_ order: RotaryRowOrder, fromInterleaved: Bool) {
    self.order = order
    self.fromInterleaved = fromInterleaved
  }

  /// The place of row `row` in the other order.
  package func callAsFunction(_ row: Int) -> Int {
    fromInterleaved
      ? order.huggingFaceRow(ofInterleaved: row) : order.interleavedRow(ofHuggingFace: row)
  }
}

/// A change of an adapter together with the tensor of the base that it fits.
package struct PairedChange: Sendable, Hashable {
  /// The index of the adapter among those that are used.
  package var adapter: Int
  /// The index of the tensor in the base.
  package var tensor: Int
  /// What happens to it.
  package var operation: Operation
  /// Where the adapter has the rows of the base, if not at the same places.
  package var rows: RowMap?

  /// What happens to the tensor; scales include the user's strength and the factor of pooling.
  package enum Operation: Sendable, Hashable {
    /// W + scale · L · R; with pooled inputs every column of a group gets the group's number.
    case lowRank(LowRank, groupSize: Int?)
    /// b + scale · v.
    case vector(tensor: Int, scale: Double)
    /// The adapter's tensor takes its place.
    case replacement(tensor: Int)
  }

  /// Whether the adapter's tensor takes the place of the base's.
  package var isReplacement: Bool {
    if case .replacement = operation { true } else { false }
  }

  /// The product that is added, if it is one.
  package var lowRank: LowRank? {
    if case .lowRank(let product, _) = operation { product } else { nil }
  }

  /// Columns that get the same number, for pooled inputs.
  package var groupSize: Int? {
    if case .lowRank(_, let size) = operation { size } else { nil }
  }

  /// The names of the adapter's tensors that take part.
  package func tensors(of adapter: Adapter) -> [String] {
    switch operation {
    case .lowRank(let product, _):
      [product.left.tensor, product.right.tensor].map { adapter.tensors[$0].name }
    case .vector(let tensor, _), .replacement(let tensor): [adapter.tensors[tensor].name]
    }
  }
}
