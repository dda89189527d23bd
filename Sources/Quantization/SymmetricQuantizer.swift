internal import Kernels
internal import TensorModel

/// A quantizer whose groups have a scale only: `w = scale · (code − 2^(bits − 1))`.
struct SymmetricQuantizer: Quantizer {
  let schemeName = "symmetric"
  let grouping: Grouping

  func encode(
    _ values: [Float], weighing importance: ImportanceRows?, into rows: GroupedRows
  ) throws(GroupFault) {
    try encode(values, rows.kernel, &rows.codes, &rows.scales)
  }

  private func encode(
    _ values: [Float], _ kernel: GroupKernel, _ codes: inout [UInt8], _ scales: inout [Float]
  ) throws(GroupFault) {
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    try kernel.encodeSymmetric(values.span, codes: &codeSpan, scales: &scaleSpan)
  }
}

extension Scheme {
  /// Covers a range around zero: the value of largest magnitude gets code 0, zero the central code.
  ///
  /// scale = largest / −2^(bits − 1). It is rounded to its stored type before codes are computed, and
  /// may be negative.
  package static let symmetric = Scheme(
    name: "symmetric", summary: "around zero, without a bias", offsets: [.none]
  ) { SymmetricQuantizer(grouping: $0) }
}
