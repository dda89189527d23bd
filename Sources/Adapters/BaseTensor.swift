package import TensorModel

/// A tensor of the base model that adapters may change, with its names.
package struct BaseTensor: Sendable {
  /// The index in the base model's catalog.
  package var index: Int
  /// The description in the base model's catalog.
  package var info: TensorInfo
  /// The name that the other project uses, Hugging Face or llama.cpp; nil if it is unknown.
  package var alias: String?
  /// The row order of the alias tensor; nil if it is the same.
  package var aliasRows: RowMap?
  /// Why the alias tensor holds different numbers; nil if it does not.
  package var aliasDifference: String?
  /// Whether it is only a part of the tensor in the catalog: some of its rows.
  package var isPart = false
  /// The row of the tensor in the catalog where it begins.
  package var firstRow = 0

  package init(
    index: Int, info: TensorInfo, alias: String? = nil, aliasRows: RowMap? = nil
  ) {
    self.index = index
    self.info = info
    self.alias = alias
    self.aliasRows = aliasRows
  }
}

/// Maps the rows of a tensor to their positions in the other row order.
package struct RowMap: Sendable, Hashable {
  /// The two row orders.
  package var order: RotaryRowOrder
  /// Whether rows are mapped from llama.cpp's order to that of Hugging Face, or the reverse.
  package var fromInterleaved: Bool

  package init(_ order: RotaryRowOrder, fromInterleaved: Bool) {
    self.order = order
    self.fromInterleaved = fromInterleaved
  }

  /// The position of row `row` in the other order.
  package func callAsFunction(_ row: Int) -> Int {
    fromInterleaved
      ? order.huggingFaceRow(ofInterleaved: row) : order.interleavedRow(ofHuggingFace: row)
  }

  /// Rows in the other order.
  ///
  /// - Parameters:
  ///   - rows: All rows, one after the other.
  ///   - rowLength: The numbers of a row.
  /// - Returns: The same rows in the other order.
  package func reordered(_ rows: [Float], rowLength: Int) -> [Float] {
    var result = rows
    for row in 0..<rows.count / max(1, rowLength) {
      let position = self(row) * rowLength
      for index in 0..<rowLength { result[position + index] = rows[row * rowLength + index] }
    }
    return result
  }
}

/// A change of an adapter together with the tensor of the base model that it applies to.
package struct PairedChange: Sendable, Hashable {
  /// The index of the adapter among all that are applied.
  package var adapter: Int
  /// The index of the tensor in the base model.
  package var tensor: Int
  /// The change.
  package var operation: Operation
  /// The adapter's row order; nil if it is that of the base model.
  package var rows: RowMap?
  /// The rows of the tensor that change; nil for all rows.
  ///
  /// The adapter counts its rows from the first of them.
  package var window: Range<Int>?
  /// The rows of a table after it is replaced by a longer one; nil if it keeps its rows.
  package var grownRowCount: Int?

  package init(
    adapter: Int, tensor: Int, operation: Operation, rows: RowMap? = nil,
    window: Range<Int>? = nil
  ) {
    self.adapter = adapter
    self.tensor = tensor
    self.operation = operation
    self.rows = rows
    self.window = window
  }

  /// The change of a tensor; scales include the user's strength and the pooling factor.
  package enum Operation: Sendable, Hashable {
    /// W + scale · L · R; with pooled inputs, all columns of a group get the same number.
    case lowRank(LowRank, groupSize: Int?)
    /// b + scale · v.
    case vector(tensor: Int, scale: Double)
    /// The tensor is replaced by a tensor of the adapter.
    case replacement(tensor: Int)
    /// The rows of the given indices, in their order, are replaced by the rows of a tensor.
    case rows(tensor: Int, indices: [Int])
  }

  /// Whether both changes are of the same rows.
  func overlaps(_ other: PairedChange) -> Bool {
    guard let window, let otherWindow = other.window else { return true }
    return window.overlaps(otherWindow)
  }

  /// Whether a vector is added.
  package var isVector: Bool { if case .vector = operation { true } else { false } }

  /// Whether the tensor is replaced.
  package var isReplacement: Bool {
    if case .replacement = operation { true } else { false }
  }

  /// Whether rows of the tensor are replaced.
  package var replacesRows: Bool { if case .rows = operation { true } else { false } }

  /// The low-rank product; nil for other changes.
  package var lowRank: LowRank? {
    if case .lowRank(let product, _) = operation { product } else { nil }
  }

  /// The number of columns that get the same number; nil without pooled inputs.
  package var groupSize: Int? {
    if case .lowRank(_, let size) = operation { size } else { nil }
  }

  /// The names of the adapter's tensors that make the change.
  package func tensors(of adapter: Adapter) -> [String] {
    switch operation {
    case .lowRank(let product, _):
      [product.left.tensor, product.right.tensor].map { adapter.tensors[$0].name }
    case .vector(let tensor, _), .replacement(let tensor), .rows(let tensor, _):
      [adapter.tensors[tensor].name]
    }
  }
}

extension [PairedChange] {
  /// The shape of a table after changes that make it longer; nil if none does.
  package func grownShape(of table: Shape) -> Shape? {
    compactMap(\.grownRowCount).max().map { Shape($0, table.columnCount) }
  }
}
