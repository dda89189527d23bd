internal import Formats
internal import Kernels

extension ParameterField {
  /// The field as bytes of a format.
  func bytes(_ format: FloatFormat) -> ByteField {
    ByteField(offset: offset, width: format.byteCount, stride: stride)
  }

  /// The numbers of the field, in order.
  func read(_ bytes: [UInt8], _ format: FloatFormat) -> [Float] {
    let gathered = self.bytes(format).gather(bytes)
    return [Float](unsafeUninitializedCapacity: gathered.count / format.byteCount) {
      values, count in
      count = gathered.count / format.byteCount
      var span = values.extracting(..<count).mutableSpan
      format.decode(gathered.span.bytes, into: &span)
    }
  }

  /// Puts numbers into the field; the bytes around them stay.
  func write(_ values: [Float], _ format: FloatFormat, to bytes: inout [UInt8]) {
    var encoded = [UInt8](repeating: 0, count: values.count * format.byteCount)
    var span = encoded.mutableSpan
    var raw = span.mutableBytes
    format.encode(values.span, into: &raw)
    self.bytes(format).scatter(encoded, into: &bytes)
  }
}
