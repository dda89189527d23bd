internal import Bytes
package import Kernels
internal import TensorModel

/// The numbers of one parameter (scales or biases) in a part, at equal distances.
package struct ParameterField: Sendable, Hashable {
  /// The index of the part.
  package var part: Int
  /// The offset of the first number in bytes.
  package var offset: Int
  /// The distance from one number to the next in bytes.
  package var stride: Int

  /// Creates a field of a part.
  ///
  /// Without an offset, and with the width of a number as stride, it covers the whole part.
  package init(part: Int, offset: Int = 0, stride: Int) {
    self.part = part
    self.offset = offset
    self.stride = stride
  }

  /// The bytes of the field, for numbers of a format.
  package func bytes(_ format: FloatFormat) -> ByteField {
    ByteField(offset: offset, width: format.byteCount, stride: stride)
  }

  /// Decodes the numbers of the field, in order.
  package func read(_ bytes: [UInt8], _ format: FloatFormat) -> [Float] {
    let gathered = self.bytes(format).gather(bytes)
    var values = [Float](repeating: 0, count: gathered.count / format.byteCount)
    var span = values.mutableSpan
    format.decode(gathered.span, into: &span)
    return values
  }

  /// Encodes numbers into the field; the bytes between them do not change.
  package func write(_ values: [Float], _ format: FloatFormat, to bytes: inout [UInt8]) {
    var encoded = [UInt8](repeating: 0, count: values.count * format.byteCount)
    encoded.change(encoded.indices) { format.encode(values.span, into: &$0) }
    self.bytes(format).scatter(encoded, into: &bytes)
  }
}
