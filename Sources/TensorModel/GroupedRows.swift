/// A block of rows of a group-quantized matrix: unpacked codes, and parameters as floats.
///
/// Quantization schemes and weight codecs exchange rows in this form. A worker reuses one object
/// for all its blocks.
package final class GroupedRows {
  /// How the rows are divided into groups.
  package let grouping: Grouping
  /// The number of adjacent columns that share a scale: the group size, or 1 for scattered groups.
  package let columnsPerParameter: Int
  /// The number of columns.
  package let columnCount: Int
  /// The number of rows.
  package let rowCount: Int

  package var codes: [UInt8]  // rows × columns, one code per byte
  // For scattered groups, every column has parameters of its own.
  package var scales: [Float]  // rows × groups, values of the parameter type
  package var biases: [Float]  // rows × groups; empty if no biases are stored
  package var zeros: [Float]  // rows × groups, usually integers; empty if no zero points are stored
  package var groupIndex: [Int] = []  // the group of each column; empty unless scattered

  /// Allocates zeros for `rowCount` rows of `columnCount` columns.
  ///
  /// `columnCount` must be a multiple of `columnsPerParameter`.
  package init(grouping: Grouping, columnCount: Int, rowCount: Int) {
    columnsPerParameter = grouping.isScattered ? 1 : grouping.groupSize
    precondition(columnCount % columnsPerParameter == 0)
    self.grouping = grouping
    self.columnCount = columnCount
    self.rowCount = rowCount
    let groups = columnCount / columnsPerParameter
    codes = Array(repeating: 0, count: rowCount * columnCount)
    scales = Array(repeating: 0, count: rowCount * groups)
    biases = grouping.offset == .bias ? Array(repeating: 0, count: rowCount * groups) : []
    zeros = grouping.offset == .zeroPoint ? Array(repeating: 0, count: rowCount * groups) : []
  }

  /// The number of groups in a row; for scattered groups, the number of columns.
  package var groupCount: Int { columnCount / columnsPerParameter }
}
