import Kernels

extension FloatFormat {
  func decode(_ bytes: [UInt8], on instructions: InstructionSet) -> [Float] {
    var values = [Float](repeating: -1, count: bytes.count / byteCount)
    var span = values.mutableSpan
    decode(bytes.span, into: &span, on: instructions)
    return values
  }

  func encode(_ values: [Float], on instructions: InstructionSet) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xaa, count: values.count * byteCount)
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    encode(values.span, into: &raw, on: instructions)
    return bytes
  }
}
