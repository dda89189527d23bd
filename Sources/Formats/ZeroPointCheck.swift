package import TensorModel

extension GroupedRows {
  /// Throws `unsupported` if a zero point is not in the range of codes.
  ///
  /// For formats that store zero points with the width of codes. `firstRow` is the position of the
  /// first row in the weight.
  package func checkZeros(firstRow: Int) throws(ModelError) {
    let top = Float(grouping.largestCode)
    guard let index = zeros.firstIndex(where: { !($0 >= 0 && $0 <= top) }) else { return }
    throw ModelError(
      .unsupported, "a zero point cannot be stored", expected: "0 to \(Int(top))",
      found: "\(zeros[index]) in row \(firstRow + index / groupCount), "
        + "group \(index % groupCount)")
  }
}
