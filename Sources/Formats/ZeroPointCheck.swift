package import TensorModel

extension GroupedRows {
  /// Throws `unsupported` for a zero point that is no code, for formats that have no room for it.
  ///
  /// `firstRow` is the place of the first row in the weight.
  package func checkZeros(firstRow: Int) throws(ModelError) {
    let top = Float(grouping.largestCode)
    guard let index = zeros.firstIndex(where: { !($0 >= 0 && $0 <= top) }) else { return }
    throw ModelError(
      .unsupported, "a zero point has no place", expected: "0 to \(Int(top))",
      found: "\(zeros[index]) in row \(firstRow + index / groupCount), "
        + "group \(index % groupCount)")
  }
}
