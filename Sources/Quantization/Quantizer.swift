package import Kernels
package import TensorModel

/// Quantizes rows of floats: it chooses the scale and the offset of each group, and the codes.
///
/// A quantizer is made once for a tensor, and several workers use it for all blocks of the tensor.
package protocol Quantizer: Sendable {
  /// The name of the scheme that made it.
  var schemeName: String { get }

  /// The grouping that it makes.
  var grouping: Grouping { get }

  /// Encodes rows of floats; `values` and `rows` must have the same number of rows and columns.
  ///
  /// `firstRow` is the position of the first row in the tensor; in a stack of matrices, rows are
  /// numbered through all of them. Throws the fault of the first group with a value that is not
  /// finite, or with parameters that are too large for their type.
  func encode(_ values: [Float], into rows: GroupedRows, firstRow: Int) throws(GroupFault)
}
