internal import Bytes
package import Kernels
internal import TensorModel

extension FloatFormat {
  /// The bytes of some numbers.
  package func encoded(_ numbers: [Float]) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: numbers.count * byteCount)
    bytes.change(bytes.indices) { encode(numbers.span, into: &$0) }
    return bytes
  }
}
