internal import Kernels
internal import TensorModel

/// A quantizer whose groups have a scale and a bias: `w = scale · code + bias`.
struct AffineQuantizer: Quantizer {
  let schemeName: String
  let grouping: Grouping
  let range: Range

  /// The value of a group at which its codes begin.
  enum Range: Sendable {
    /// The smallest value.
    case fromMinimum
    /// The value farthest from zero.
    case fromFarthest
  }

  func encode(
    _ values: [Float], weighing importance: ImportanceRows?, into rows: GroupedRows
  ) throws(GroupFault) {
    try encode(values, rows.kernel, &rows.codes, &rows.scales, &rows.biases)
  }

  private func encode(
    _ values: [Float], _ kernel: GroupKernel, _ codes: inout [UInt8], _ scales: inout [Float],
    _ biases: inout [Float]
  ) throws(GroupFault) {
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    var biasSpan = biases.mutableSpan
    switch range {
    case .fromMinimum:
      try kernel.encodeMinMax(
        values.span, codes: &codeSpan, scales: &scaleSpan, biases: &biasSpan)
    case .fromFarthest:
      try kernel.encodeMLX(
        values.span, codes: &codeSpan, scales: &scaleSpan, biases: &biasSpan)
    }
  }
}

extension Scheme {
  /// Covers the smallest to the largest value of a group, as in QA-LoRA.
  ///
  /// scale = (max − min) / (2^bits − 1), bias = min (arXiv 2309.14717, equation 1). Both are rounded
  /// to their stored type before codes are computed.
  package static let minMax = Scheme(
    name: "minmax", summary: "from the smallest to the largest value, with a bias",
    offsets: [.bias]
  ) {
    AffineQuantizer(schemeName: "minmax", grouping: $0, range: .fromMinimum)
  }

  /// Covers the value farthest from zero to the other end, as `mx.quantize` of MLX does on a CPU.
  ///
  /// scale = (max − min) / (2^bits − 1), made a little smaller or larger so that zero is a whole
  /// number of steps from the bias. It is negative if the bias is the largest value. MLX on a GPU
  /// rounds halves away from zero, so its codes may differ by one.
  package static let mlx = Scheme(
    name: "mlx", summary: "from the value farthest from zero, with a bias, as in MLX",
    offsets: [.bias]
  ) { AffineQuantizer(schemeName: "mlx", grouping: $0, range: .fromFarthest) }
}
