internal import Kernels
internal import TensorModel

/// A quantizer whose groups have a scale and an integer zero point: `w = scale · (code − zero)`.
struct ZeroPointQuantizer: Quantizer {
  let schemeName = "zeropoint"
  let grouping: Grouping

  func encode(
    _ values: [Float], weighing importance: ImportanceRows?, into rows: GroupedRows
  ) throws(GroupFault) {
    try encode(values, rows.kernel, &rows.codes, &rows.scales, &rows.zeros)
  }

  private func encode(
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

extension Scheme {
  /// Covers the smallest to the largest value and zero, with an integer zero point, as in GPTQ.
  ///
  /// scale = (max − min) / (2^bits − 1), where min is at most 0 and max is at least 0. It is rounded
  /// to its stored type first. zero = −min / scale, rounded.
  package static let zeroPoint = Scheme(
    name: "zeropoint", summary: "with a whole zero point, as in GPTQ", offsets: [.zeroPoint]
  ) { ZeroPointQuantizer(grouping: $0) }
}
