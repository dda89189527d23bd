package import TensorModel

extension GroupedRows {
  /// The arithmetic of these groups.
  package var kernel: GroupKernel {
    GroupKernel(
      groupSize: columnsPerParameter, bits: grouping.bits,
      parameters: FloatFormat(grouping.parameters))
  }

  /// Fills `values` with the decoded numbers: rows × columns floats.
  package func decode(into values: inout [Float]) {
    let (codes, scales, biases, zeros) = (codes, scales, biases, zeros)
    var target = values.mutableSpan
    switch grouping.offset {
    case .bias:
      kernel.decode(codes.span, scales: scales.span, biases: biases.span, into: &target)
    case .zeroPoint:
      kernel.decode(codes.span, scales: scales.span, zeros: zeros.span, into: &target)
    case .none:
      kernel.decode(
        codes.span, scales: scales.span, zero: Float(grouping.centralCode), into: &target)
    }
  }

  /// Fills `values` with the decoded numbers; its length is changed to fit.
  package func decodeAll(into values: inout [Float]) {
    if values.count != codes.count { values = Array(repeating: 0, count: codes.count) }
    decode(into: &values)
  }
}
