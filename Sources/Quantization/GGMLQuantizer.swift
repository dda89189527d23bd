internal import Kernels
internal import TensorModel

/// A quantizer that makes the same blocks as `llama-quantize` of llama.cpp, byte for byte.
struct GGMLQuantizer: Quantizer {
  let schemeName = "ggml"
  let grouping: Grouping
  let type: BlockType

  func encode(
    _ values: [Float], weighing importance: ImportanceRows?, into rows: GroupedRows
  ) throws(GroupFault) {
    if let importance { return try encode(values, importance, rows) }
    try encode(values, &rows.codes, &rows.scales, &rows.biases)
  }

  func blockEncoder(columnCount: Int) -> (any RowEncoder)? {
    encoder(columnCount: columnCount)
  }

  private func encoder(columnCount: Int) -> BlockEncoder {
    BlockEncoder(type: type, method: .ggml, columnCount: columnCount)
  }

  private func encode(
    _ values: [Float], _ codes: inout [UInt8], _ scales: inout [Float], _ biases: inout [Float]
  ) throws(GroupFault) {
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    var biasSpan = biases.mutableSpan
    try type.encode(values.span, codes: &codeSpan, scales: &scaleSpan, biases: &biasSpan)
  }

  // The kernels with importance make whole blocks, because they look at whole rows.
  private func encode(
    _ values: [Float], _ importance: ImportanceRows, _ rows: GroupedRows
  ) throws(GroupFault) {
    let encoder = encoder(columnCount: rows.columnCount)
    var blocks = [UInt8](
      repeating: 0, count: values.count / type.elementCount * type.byteCount)
    var bytes = blocks.mutableSpan
    // Every bit pattern is a valid byte.
    var raw = unsafe bytes.mutableBytes
    try encoder.encode(values, weighing: importance, into: &raw)
    unpack(blocks, &rows.codes, &rows.scales, &rows.biases)
  }

  private func unpack(
    _ blocks: [UInt8], _ codes: inout [UInt8], _ scales: inout [Float], _ biases: inout [Float]
  ) {
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    guard grouping.offset == .bias else {
      return type.unpack(blocks.span, codes: &codeSpan, scales: &scaleSpan)
    }
    var biasSpan = biases.mutableSpan
    type.unpack(blocks.span, codes: &codeSpan, scales: &scaleSpan, biases: &biasSpan)
  }
}

extension Scheme {
  /// Makes the blocks of llama.cpp.
  ///
  /// Without importance, scales and biases are computed as in minmax and symmetric, and codes with
  /// the reciprocal of the scale before it is rounded to F16. With importance, and for other blocks,
  /// `BlockType.encodeRows` says what is computed.
  package static let ggml = Scheme(
    name: "ggml", summary: "with or without a bias, to the bytes of llama-quantize",
    offsets: [.bias, .none], blocks: { _ in .ggml }, refusal: refusalOfBlocks
  ) { grouping, _ in
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
