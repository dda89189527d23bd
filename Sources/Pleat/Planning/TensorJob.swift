package import Formats
public import TensorModel
package import Weights

/// Everything that a worker needs to write one tensor of the output.
public struct TensorJob: Sendable {
  /// The tensor in the source.
  public let source: TensorInfo
  /// The tensor in the output.
  public let target: TensorInfo
  /// The reason for the decision, in a few words.
  public let reason: String

  /// The index in the catalog of the source.
  package let sourceIndex: Int
  /// The transform that turns the source into the target.
  package let transform: Transform
  /// Whether the format stores the target exactly, or with rounded scales and biases.
  package let admission: Admission
  /// Whether numbers that are not finite are copied without an error: if a rule keeps the tensor.
  package let allowsNonFinite: Bool
  /// The blocks of the source.
  package let partition: BlockPartition
  /// How units are arranged in each part of the target.
  package let targetLayouts: [RowLayout]
  /// The index of the first stored tensor of the target; its other parts follow.
  package let firstStoredIndex: Int
  /// The byte offset of the target in its stored tensor: 0 unless it is a matrix of a stack.
  package let offset: Int
  /// For each part of the target, the location of the same bytes in the source; nil if none.
  package let copySources: [StoredLocation?]
  /// The row order of llama.cpp; nil if the rows are not reordered.
  package let rowOrder: RotaryRowOrder?
  /// The biases that are changed in place; nil unless a fold changes nothing else.
  package let editedBiases: EditedBiases?

  /// Biases that are changed in place.
  package struct EditedBiases: Sendable, Hashable {
    /// The field of the biases.
    package var field: ParameterField
    /// Whether their part holds nothing else.
    package var isWholePart: Bool
  }

  /// The action for reports.
  public var action: Action { transform.action(on: source.encoding) }

  /// Whether adapters change the tensor.
  package var foldsAdapters: Bool { transform.foldsAdapters }

  /// Whether the target has more rows than the source: a table that an adapter makes longer.
  package var isGrown: Bool { target.shape.rowCount > source.shape.rowCount }

  /// The number of blocks; 0 for a tensor that is left out.
  package var blockCount: Int {
    if case .omit = transform { 0 } else { partition.blockCount }
  }

  /// The length of a block in the source, in bytes.
  package func sourceByteCount(of block: Int) -> Int {
    partition.byteCount(of: partition.units(of: block))
  }
}
