package import Kernels
package import TensorModel

/// From the value farthest from zero to the other end, as `mx.quantize` of MLX does on a CPU.
///
/// scale = (max − min) / (2^bits − 1), made a little smaller or larger so that zero is a whole
/// number of steps from the bias; it is negative where the bias is the largest value. MLX on a GPU
/// rounds halves away from zero: its codes may differ by one.
package enum MLXScheme: GroupScheme {
  package static let name = "mlx"
  package static let summary = "from the value farthest from zero, with a bias, as in MLX"
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
    try kernel.encodeMLX(
      values.span, codes: &codeSpan, scales: &scaleSpan, biases: &biasSpan)
  }
}
