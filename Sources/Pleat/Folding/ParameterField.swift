internal import Bytes
internal import Formats
internal import Kernels
internal import TensorModel

extension TensorPlan {
  /// Where biases are moved in place, and whether nothing else is in their part; nil where all of
  /// the tensor has to be written anew.
  func biasField(
    from source: Format, to target: Format
  ) -> (field: ParameterField, isAlone: Bool)? {
    guard case .shift(let grouping) = action, self.source.encoding == .grouped(grouping),
      source == target, let field = target.spelling.biasField(of: grouping)
    else { return nil }
    return (field, field.stride == grouping.parameters.bitWidth / 8)
  }
}

extension ParameterField {
  /// The field as bytes of a format.
  func bytes(_ format: FloatFormat) -> ByteField {
    ByteField(offset: offset, width: format.byteCount, stride: stride)
  }

  /// The numbers of the field, in order.
  func read(_ bytes: [UInt8], _ format: FloatFormat) -> [Float] {
    let gathered = self.bytes(format).gather(bytes)
    var values = [Float](repeating: 0, count: gathered.count / format.byteCount)
    var span = values.mutableSpan
    format.decode(gathered.span, into: &span)
    return values
  }

  /// Puts numbers into the field; the bytes around them stay.
  func write(_ values: [Float], _ format: FloatFormat, to bytes: inout [UInt8]) {
    var encoded = [UInt8](repeating: 0, count: values.count * format.byteCount)
    encoded.change(encoded.indices) { format.encode(values.span, into: &$0) }
    self.bytes(format).scatter(encoded, into: &bytes)
  }
}
