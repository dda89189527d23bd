internal import Kernels
package import TensorModel
internal import TestSupport

extension GroupedRows {
  /// Rows with random codes, and parameters that are numbers of their type.
  ///
  /// Zero points are 1 to the largest code: every format that has zero points has these.
  package convenience init(
    _ grouping: Grouping, columnCount: Int, rowCount: Int, seed: UInt64
  ) {
    self.init(grouping: grouping, columnCount: columnCount, rowCount: rowCount)
    var random = Seeded(seed)
    codes = random.codes(codes.count, bits: grouping.bits)
    scales = Numbers.rounded(random.weights(scales.count), to: grouping.parameters)
    biases = Numbers.rounded(random.weights(biases.count), to: grouping.parameters)
    zeros = random.codes(zeros.count, bits: grouping.bits).map { Float(max(1, $0)) }
  }

  /// Some of the rows.
  func rows(_ range: Range<Int>) -> GroupedRows {
    let piece = GroupedRows(
      grouping: grouping, columnCount: columnCount, rowCount: range.count)
    func slice<Element>(_ values: [Element], _ length: Int) -> [Element] {
      values.isEmpty
        ? [] : Array(values[range.lowerBound * length..<range.upperBound * length])
    }
    piece.codes = slice(codes, columnCount)
    piece.scales = slice(scales, groupCount)
    piece.biases = slice(biases, groupCount)
    piece.zeros = slice(zeros, groupCount)
    return piece
  }

  /// The decoded numbers.
  var values: [Float] {
    var values: [Float] = []
    decodeAll(into: &values)
    return values
  }
}
