package import Formats
public import TensorModel
package import Weights

/// Everything that a worker needs to write one tensor of the output.
///
/// A plan may have 100,000 jobs, but few kinds of them, which the jobs share: a job has names and
/// places of its own.
public struct TensorJob: Sendable {
  private let sourceName: String
  private let targetName: String
  /// What it has in common with other jobs.
  let kind: Shared<Kind>
  private let columns: Shared<TensorImportance>?

  /// The index in the catalog of the source.
  package let sourceIndex: Int
  /// The stored tensors that the target is written to.
  package var place: Place
  /// For each part of the target, the location of the same bytes in the source; nil if none.
  package let copySources: [StoredLocation?]

  /// What the jobs of tensors of the same form have in common, such as those of all experts.
  struct Kind: Sendable {
    let source: TensorForm
    let target: TensorForm
    let reason: String
    let transform: Transform
    let admission: Admission
    let allowsNonFinite: Bool
    let partition: BlockPartition
    let targetLayouts: [RowLayout]
    let rowOrder: RotaryRowOrder?
    let editedBiases: EditedBiases?
    let division: Division
  }

  init(
    of wish: TensorWish, at sourceIndex: Int, named targetName: String, _ kind: Shared<Kind>,
    _ place: Place, copying sources: [StoredLocation?]
  ) {
    sourceName = wish.sourceName
    self.targetName = targetName
    self.kind = kind
    columns = wish.columns
    self.sourceIndex = sourceIndex
    self.place = place
    copySources = sources
  }

  /// Where a target is in the stored tensors.
  package struct Place: Sendable, Hashable {
    /// The indices of the stored tensors of the target, one for each part; empty if it is left out.
    ///
    /// If its rows are divided among several tensors, the parts of the second one follow those of
    /// the first.
    package var storedIndices: StoredIndices
    private var matrix: Int32 = 0  // fewer than the model has tensors

    package init(storedIndices: StoredIndices, stackIndex: Int = 0) {
      self.storedIndices = storedIndices
      self.stackIndex = stackIndex
    }

    /// The index of the target in a stack of matrices; 0 unless it is a matrix of one.
    package var stackIndex: Int {
      get { Int(matrix) }
      set { matrix = Int32(newValue) }
    }
  }

  /// How the rows of a target are divided among several tensors.
  struct Division: Sendable, Hashable {
    /// The number of tensors that the rows of each matrix are divided among.
    var pieceCount = 1
    /// The number of matrices; counts only if they are divided.
    var matrixCount = 1
  }

  /// Biases that are changed in place.
  package struct EditedBiases: Sendable, Hashable {
    /// The field of the biases.
    package var field: ParameterField
    /// Whether their part holds nothing else.
    package var isWholePart: Bool
  }
}

extension TensorJob {
  /// The tensor in the source.
  public var source: TensorInfo { TensorInfo(name: sourceName, kind.value.source) }

  /// The tensor in the output.
  public var target: TensorInfo { TensorInfo(name: targetName, kind.value.target) }

  /// The reason for the decision, in a few words.
  public var reason: String { kind.value.reason }

  /// The transform that turns the source into the target.
  package var transform: Transform { kind.value.transform }

  /// The importance of the columns, if the transform uses it; nil if all count the same.
  package var importance: TensorImportance? { columns?.value }

  /// Whether the format stores the target exactly, or with rounded scales and biases.
  package var admission: Admission { kind.value.admission }

  /// Whether numbers that are not finite are copied without an error: if a rule keeps the tensor.
  package var allowsNonFinite: Bool { kind.value.allowsNonFinite }

  /// The blocks of the source.
  package var partition: BlockPartition { kind.value.partition }

  /// How units are arranged in each part of the target.
  package var targetLayouts: [RowLayout] { kind.value.targetLayouts }

  /// The order of the rows in the target; nil if the rows are not reordered.
  package var rowOrder: RotaryRowOrder? { kind.value.rowOrder }

  /// The biases that are changed in place; nil unless a fold changes nothing else.
  package var editedBiases: EditedBiases? { kind.value.editedBiases }

  /// The action for reports.
  public var action: Action { transform.action(on: kind.value.source.encoding) }

  /// Whether adapters change the tensor.
  package var foldsAdapters: Bool { transform.foldsAdapters }

  /// Whether the target has more rows than the source: a table that an adapter makes longer.
  package var isGrown: Bool {
    kind.value.target.elementCount > kind.value.source.elementCount
  }

  /// The number of blocks; 0 for a tensor that is left out.
  package var blockCount: Int {
    transform.isOmission ? 0 : partition.blockCount
  }

  /// The runs of units that a worker reads at a time, in the order of a block.
  ///
  /// What is copied is written as it was read, so it is read at once.
  package func reads(of block: Int) -> [Range<Int>] {
    let units = partition.units(of: block)
    if case .copy = transform { return [units] }
    return partition.reads(units)
  }

  /// The length of a block in the source, in bytes.
  package func sourceByteCount(of block: Int) -> Int {
    partition.byteCount(of: partition.units(of: block))
  }
}

extension TensorJob {
  /// Units of a target that are adjacent in a stored tensor.
  package struct Run: Sendable, Hashable {
    /// The units in the target.
    package var units: Range<Int>
    /// The index of the tensor, if the target is divided among several; otherwise 0.
    package var piece: Int
    /// The position of the first unit in that tensor, or in the matrix of a stack.
    package var first: Int

    package init(units: Range<Int>, piece: Int = 0, first: Int) {
      self.units = units
      self.piece = piece
      self.first = first
    }
  }

  /// Divides units of the target into runs that are adjacent in a stored tensor.
  package func runs(of units: Range<Int>) -> [Run] {
    let pieceCount = kind.value.division.pieceCount
    guard pieceCount > 1 else { return [Run(units: units, first: units.lowerBound)] }
    let length = partition.unitCount / (pieceCount * kind.value.division.matrixCount)
    var runs: [Run] = []
    var start = units.lowerBound
    while start < units.upperBound {
      let index = start / length
      let end = min(units.upperBound, (index + 1) * length)
      let first = index / pieceCount * length + start % length
      runs.append(Run(units: start..<end, piece: index % pieceCount, first: first))
      start = end
    }
    return runs
  }
}
