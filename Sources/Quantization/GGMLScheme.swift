package import Kernels
package import TensorModel

/// The blocks of llama.cpp, with the bytes that `llama-quantize` writes.
///
/// Scales and biases are like those of minmax and symmetric; codes come from the scale before it is
/// rounded to F16, times its reciprocal.
package enum GGMLScheme: GroupScheme {
  package static let name = "ggml"
  package static let summary = "with or without a bias, to the bytes of llama-quantize"
  package static let offsets = [Grouping.Offset.bias, .none]

  package static func refusal(of grouping: Grouping) -> String? {
    guard grouping.groupSize == BlockType.q4_0.elementCount else {
      return "it makes groups of 32, found groups of \(grouping.groupSize)"
    }
    guard grouping.parameters == .f16 else {
      return "it makes scales and biases in F16, found \(grouping.parameters.name)"
    }
    return blockType(of: grouping) == nil
      ? "it makes 4 or 5 bits, and 8 bits without a bias" : nil
  }

  package static func encode(_ values: [Float], into rows: GroupedRows) throws(GroupFault) {
    guard let type = blockType(of: rows.grouping) else { preconditionFailure("never planned") }
    try encode(values, type, &rows.codes, &rows.scales, &rows.biases)
  }

  private static func encode(
    _ values: [Float], _ type: BlockType, _ codes: inout [UInt8], _ scales: inout [Float],
    _ biases: inout [Float]
  ) throws(GroupFault) {
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    var biasSpan = biases.mutableSpan
    try type.encode(
      values.span, codes: &codeSpan, scales: &scaleSpan, biases: &biasSpan)
  }

  /// The block that holds codes of just these bits.
  private static func blockType(of grouping: Grouping) -> BlockType? {
    switch grouping.offset {
    case .bias: BlockType(.affine(bits: grouping.bits))
    case .none: BlockType(.symmetric(bits: grouping.bits))
    case .zeroPoint: nil
    }
  }
}
