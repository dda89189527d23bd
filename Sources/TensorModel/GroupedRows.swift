/// Some rows of a group-quantized matrix in memory: unpacked codes, and parameters as floats.
///
/// The one form between schemes and spellings; a worker reuses one object for all its blocks.
package final class GroupedRows {
  /// How the rows are cut into groups.
  package let grouping: Grouping
  /// Columns, one after the other, that have a scale here: those of a group, unless it is scattered.
  package let columnsPerParameter: Int
  /// The length of a row.
  package let columnCount: Int
  /// The number of rows.
  package let rowCount: Int

  package var codes: [UInt8]  // rows × columns, one code a byte
  // Where groups are scattered, every column counts as a group here.
  package var scales: [Float]  // rows × groups, values of the parameter type
  package var biases: [Float]  // rows × groups; empty without a stored bias
  package var zeros: [Float]  // rows × groups, whole numbers; empty without stored zero points

  /// Room for `rowCount` rows of `columnCount` columns; the group size divides the columns.
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

  /// The number of groups in a row.
  package var groupCount: Int { columnCount / columnsPerParameter }
}
