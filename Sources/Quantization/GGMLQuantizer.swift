internal import Kernels
internal import TensorModel

/// A quantizer that makes the same blocks as `llama-quantize` of llama.cpp, byte for byte.
struct GGMLQuantizer: Quantizer {
  let schemeName = "ggml"
  let grouping: Grouping
  let type: BlockType

  func encode(_ values: [Float], into rows: GroupedRows) throws(GroupFault) {
    try encode(values, &rows.codes, &rows.scales, &rows.biases)
  }

  private func encode(
    _ values: [Float], _ codes: inout [UInt8], _ scales: inout [Float], _ biases: inout [Float]
  ) throws(GroupFault) {
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    var biasSpan = biases.mutableSpan
    try type.encode(values.span, codes: &codeSpan, scales: &scaleSpan, biases: &biasSpan)
  }
}

extension Scheme {
  /// Makes the blocks of llama.cpp.
  ///
  /// Scales and biases are computed as in minmax and symmetric. Codes are computed with the
  /// reciprocal of the scale before it is rounded to F16.
  package static let ggml = Scheme(
    name: "ggml", summary: "with or without a bias, to the bytes of llama-quantize",
    offsets: [.bias, .none], refusal: refusalOfBlocks
  ) { grouping in
    guard let type = blockType(of: grouping) else { preconditionFailure("refused") }
    return GGMLQuantizer(grouping: grouping, type: type)
  }

  private static func refusalOfBlocks(_ grouping: Grouping) -> String? {
    guard grouping.groupSize == BlockType.q4_0.elementCount else {
      return "it makes groups of 32, found groups of \(grouping.groupSize)"
    }
    guard grouping.parameters == .f16 else {
      return "it makes scales and biases in F16, found \(grouping.parameters.name)"
    }
    return blockType(of: grouping) == nil
      ? "it makes 4 or 5 bits, and 8 bits without a bias" : nil
  }

  /// The block type with exactly this code width; nil if there is none.
  private static func blockType(of grouping: Grouping) -> BlockType? {
    switch grouping.offset {
    case .bias: BlockType(.affine(bits: grouping.bits))
    case .none: BlockType(.symmetric(bits: grouping.bits))
    case .zeroPoint: nil
    }
  }
}
