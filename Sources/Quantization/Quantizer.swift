package import Kernels
package import TensorModel

/// Quantizes rows of floats: it chooses the scale and the offset of each group, and the codes.
///
/// Several workers use one quantizer, for the blocks of many tensors.
package protocol Quantizer: Sendable {
  /// The name of the scheme that made it.
  var schemeName: String { get }

  /// The grouping that it makes.
  var grouping: Grouping { get }

  /// About how long it takes to encode a weight, in picoseconds of one thread.
  var picosecondsPerWeight: Int { get }

  /// Encodes rows of floats; `values` and `rows` must have the same number of rows and columns.
  ///
  /// `importance` is how much the errors in these rows count; nil if all count the same. Schemes that
  /// do not use importance ignore it. Throws the fault of the first group with a value that is not
  /// finite, or with parameters that are too large for their type.
  func encode(
    _ values: [Float], weighing importance: ImportanceRows?, into rows: GroupedRows
  ) throws(GroupFault)

  /// An encoder that makes the same codes and parameters as blocks of llama.cpp, in one step.
  ///
  /// nil if there is none.
  func blockEncoder(columnCount: Int) -> (any RowEncoder)?
}

extension Quantizer {
  package func blockEncoder(columnCount: Int) -> (any RowEncoder)? { nil }
}
