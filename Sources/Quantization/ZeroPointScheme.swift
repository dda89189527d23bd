package import Kernels
package import TensorModel

/// From the smallest to the largest value and zero, with a whole zero point, as GPTQ rounds.
///
/// scale = (max − min) / (2^bits − 1), rounded to its stored type first; zero = −min / scale.
package enum ZeroPointScheme: GroupScheme {
  package static let name = "zeropoint"
  package static let summary = "with a whole zero point, as in GPTQ"
  package static let offsets = [Grouping.Offset.zeroPoint]

  package static func encode(_ values: [Float], into rows: GroupedRows) throws(GroupFault) {
    try encode(values, rows.kernel, &rows.codes, &rows.scales, &rows.zeros)
  }

  private static func encode(
    _ values: [Float], _ kernel: GroupKernel, _ codes: inout [UInt8], _ scales: inout [Float],
    _ zeros: inout [Float]
  ) throws(GroupFault) {
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    var zeroSpan = zeros.mutableSpan
    try kernel.encodeZeroPoint(
      values.span, codes: &codeSpan, scales: &scaleSpan, zeros: &zeroSpan)
  }
}
