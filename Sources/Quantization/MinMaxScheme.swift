package import Kernels
package import TensorModel

/// From the smallest to the largest value of a group, as in QA-LoRA (arXiv 2309.14717, equation 1).
///
/// scale = (max − min) / (2^bits − 1), bias = min; both rounded to their stored type first.
package enum MinMaxScheme: GroupScheme {
  package static let name = "minmax"
  package static let summary = "from the smallest to the largest value, with a bias"
  package static let offsets = [Grouping.Offset.bias]

  package static func encode(_ values: [Float], into rows: GroupedRows) throws(GroupFault) {
    try encode(values, rows.kernel, &rows.codes, &rows.scales, &rows.biases)
  }

  private static func encode(
    _ values: [Float], _ kernel: GroupKernel, _ codes: inout [UInt8], _ scales: inout [Float],
    _ biases: inout [Float]
  ) throws(GroupFault) {
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    var biasSpan = biases.mutableSpan
    try kernel.encodeMinMax(
      values.span, codes: &codeSpan, scales: &scaleSpan, biases: &biasSpan)
  }
}
