/// Some rows of a group-quantized matrix in memory: unpacked codes, and parameters as floats.
///
/// The one form between schemes and spellings; a worker reuses one object for all its blocks.
package final class GroupedRows {
  /// How the rows are cut into groups.
  package let grouping: Grouping
  /// The length of a row.
  package let columnCount: Int
  /// The number of rows.
  package let rowCount: Int

  package var codes: [UInt8]  // rows × columns, one code a byte
  package var scales: [Float]  // rows × groups, values of the parameter type
  package var biases: [Float]  // rows × groups; empty without a stored bias
  package var zeros: [Float]  // rows × groups, whole numbers; empty without stored zero points

  /// Room for `rowCount` rows of `columnCount` columns; the group size divides the columns.
  package init(grouping: Grouping, columnCount: Int, rowCount: Int) {
    precondition(columnCount % grouping.groupSize == 0)
    self.grouping = grouping
    self.columnCount = columnCount
    self.rowCount = rowCount
    let groups = columnCount / grouping.groupSize
    codes = Array(repeating: 0, count: rowCount * columnCount)
    scales = Array(repeating: 0, count: rowCount * groups)
    biases = grouping.offset == .bias ? Array(repeating: 0, count: rowCount * groups) : []
    zeros = grouping.offset == .zeroPoint ? Array(repeating: 0, count: rowCount * groups) : []
  }

  /// The number of groups in a row.
  package var groupCount: Int { columnCount / grouping.groupSize }
}
