package import Kernels
package import TensorModel

/// Around zero: the value of largest magnitude gets code 0, zero gets the central code.
///
/// scale = largest / −2^(bits − 1), rounded to its stored type first; it may be negative.
package enum SymmetricScheme: GroupScheme {
  package static let name = "symmetric"
  package static let summary = "around zero, without a bias"
  package static let offsets = [Grouping.Offset.none]

  package static func encode(_ values: [Float], into rows: GroupedRows) throws(GroupFault) {
    try encode(values, rows.kernel, &rows.codes, &rows.scales)
  }

  private static func encode(
    _ values: [Float], _ kernel: GroupKernel, _ codes: inout [UInt8], _ scales: inout [Float]
  ) throws(GroupFault) {
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    try kernel.encodeSymmetric(values.span, codes: &codeSpan, scales: &scaleSpan)
  }
}
